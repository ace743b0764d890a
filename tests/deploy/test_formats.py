"""What is asked for before anything is made."""

from __future__ import annotations

import importlib.util

import pytest

from traindeck.core.base.errors import MissingError
from traindeck.recipes.shared.deploy.formats import check_runtimes


def test_what_reads_weights_and_proves_a_microcontrollers_model_is_asked_for_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_runtimes("saved_model", ["saved_model", "litert-int8"])
    with pytest.raises(MissingError, match="pip install tflite-micro"):
        check_runtimes("saved_model", ["saved_model", "litert-micro"])
    with pytest.raises(MissingError, match=r"safetensors: pip install 'traindeck\[deploy\]'"):
        check_runtimes("safetensors", ["pt2"])
