"""TensorFlow, for the tests that compare a private step with it; loaded by those alone."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture(scope="session")
def tf() -> Any:
    tensorflow = pytest.importorskip("tensorflow")
    tensorflow.config.set_visible_devices([], "GPU")
    return tensorflow


@pytest.fixture(scope="session")
def dp(tf: Any) -> Any:
    from traindeck.recipes.shared.training.dp import tf as dp_tf

    return dp_tf
