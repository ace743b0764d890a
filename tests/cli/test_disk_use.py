"""How much of the disk a run takes up."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable

import pytest

pytestmark = pytest.mark.slow


def test_show_and_ls_say_the_bytes_of_a_run(
    traindeck: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    write = "head -c 3000000 /dev/urandom > $TRAINDECK_RUN_FOLDER/artifacts/model.bin"
    traindeck("run", "--wait", "--", "sh", "-c", write)
    [doc] = json.loads(traindeck("ls", "--json").stdout)
    assert 3_000_000 <= doc["bytes"] < 3_500_000
    assert json.loads(traindeck("show", "@last", "--json").stdout)["bytes"] >= 3_000_000
    shown = traindeck("show", "@last").stdout
    assert "  on disk    3" in shown
