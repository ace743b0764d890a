"""One server of two models for tests that do not change it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving.serving_tools import DIGITS, measures, pictures, serving
from traindeck.core.models.bundle import write_signature
from traindeck.recipes.shared.deploy.serving.limits import Limits
from traindeck.recipes.shared.deploy.serving.server import Serving
from traindeck.recipes.shared.deploy.serving.store import Model


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`digits`, versions 1 and 2 labelled `stable` and `canary`, and `patients`."""
    base = tmp_path_factory.mktemp("serving")
    for version in (1, 2):
        pictures(base / f"digits/{version}", scale=version)
    write_signature(
        base / "digits/2",
        {"image": {"dtype": "uint8", "shape": [4, 4], "unit": "0 to 15"}},
        {"probabilities": {"dtype": "float32", "shape": [10], "labels": DIGITS}},
    )
    measures(base / "patients/1")
    labels = {"stable": 1, "canary": 2}
    digits = Model("digits", base / "digits", "all", labels=labels)
    limits = Limits(body=1 << 20, rows=64)
    with serving(base, digits, Model("patients", base / "patients"), limits=limits) as one:
        yield one
