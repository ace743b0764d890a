"""What several files of these tests are given; each imports what it needs, which may lack."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from tests.conftest import until

if TYPE_CHECKING:
    from tests.federated.flower_stand_in import StandIn
    from tests.federated.owner_pairs import Pair
    from tests.federated.secagg_parties import Owners


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """An owner beside a data scientist."""
    from tests.federated.federated_tools import as_before
    from tests.federated.owner_pairs import make

    with as_before():
        os.umask(0o077)
        yield make(tmp_path)


@pytest.fixture
def owners(tmp_path: Path) -> Callable[..., Owners]:
    """So many owners of a secure aggregation that have come to terms."""
    from tests.federated.secagg_parties import assembled

    def make(count: int, threshold: int | None = None, **options: Any) -> Owners:
        return assembled(count, tmp_path, threshold, **options)

    return make


@pytest.fixture
def flower(tmp_path: Path) -> StandIn:
    """An environment of Flower's whose commands are stand-ins."""
    from tests.federated.flower_stand_in import STAND_IN, StandIn, packages

    root = tmp_path / "env"
    packages(root, "flwr-1.41.0", "torch-2.13.0", "numpy-2.4.6")
    (root / "bin").mkdir()
    for name in ("flower-superlink", "flower-supernode", "flwr", "python"):
        path = root / "bin" / name
        path.write_text(STAND_IN.format(python=sys.executable))
        path.chmod(0o755)
    return StandIn(root)


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Any]:
    """Start flower-fedavg; whatever it started is ended with the test."""
    from tests.federated.flower_stand_in import read, surroundings, words

    processes: list[psutil.Process] = []

    def start(flower: str | Path, *flags: object) -> tuple[psutil.Popen, list[psutil.Process]]:
        """The recipe, and all its processes once its rounds have begun."""
        with (tmp_path / "out").open("wb") as out:
            process = psutil.Popen(
                words(tmp_path / "run", *flags),
                env=surroundings(tmp_path, flower),
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        processes.append(process)
        coordinator = tmp_path / "run" / "federation" / "coordinator.json"
        until(lambda: (read(coordinator) or {}).get("phase") == "training", "the training")
        children = process.children(recursive=True)
        processes.extend(children)
        return process, children

    yield start
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
        process.wait(60)
