"""A home for made-up federations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from traindeck.core.base.home import Home


@pytest.fixture
def home(home: Home) -> Iterator[Home]:
    """A home whose made-up runs, supervised by this process, go before anyone ends them."""
    yield home
    shutil.rmtree(home.runs)
    home.runs.mkdir()
