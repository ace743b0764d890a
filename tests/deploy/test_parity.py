"""The gate: what answers otherwise than the run's own model is refused, and why is said."""

from __future__ import annotations

import numpy as np
import pytest

from traindeck.core.base.errors import UsageError
from traindeck.recipes.shared.deploy import calibration, parity
from traindeck.recipes.shared.deploy.formats import wanted
from traindeck.recipes.shared.deploy.records import Records

RIGHT = np.eye(4, dtype=np.float32)[np.arange(200) % 4] * 0.7 + 0.075
LABELS = np.arange(200) % 4


def facts(got: np.ndarray) -> dict[str, object]:
    return parity.compare({"probabilities": RIGHT}, {"probabilities": got}, LABELS)


def test_the_same_answers_pass() -> None:
    said = facts(RIGHT.copy())
    assert said == {"largest_error": 0.0, "agreement": 1.0, "records": 200, "accuracy": 1.0}
    assert parity.problem(said, exact=True) == ""


def test_a_float_format_must_agree_to_the_last_digits() -> None:
    said = facts(RIGHT + np.float32(2e-4))
    assert "differs by up to 0.0002 from the model; 0.0001 is allowed" in parity.problem(said, True)
    assert parity.problem(said, exact=False) == ""


def test_other_decisions_are_refused_with_their_accuracy() -> None:
    got = RIGHT.copy()
    got[:20] = RIGHT[1:21]
    said = parity.problem(facts(got), exact=False)
    assert said.startswith("decides as the model in 90.00% of 200 test records, 90.0% of them")


def test_one_in_two_hundred_may_differ() -> None:
    got = RIGHT.copy()
    got[0] = RIGHT[1]
    assert parity.problem(facts(got), exact=False) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value: float) -> None:
    got = RIGHT.copy()
    got[7, 3] = value
    assert "no number" in parity.problem(facts(got), exact=False)


def test_a_lost_output_is_refused_and_an_unnamed_one_is_not() -> None:
    other = parity.compare({"probabilities": RIGHT}, {"softmax": RIGHT}, LABELS)
    assert "gives other outputs" in parity.problem(other, exact=True)
    unnamed = parity.compare({"probabilities": RIGHT}, {"output_0": RIGHT}, LABELS)
    assert parity.problem(unnamed, exact=True) == ""
    short = parity.compare({"probabilities": RIGHT}, {"probabilities": RIGHT[:, :3]}, LABELS)
    assert "gives other outputs" in parity.problem(short, exact=True)


def test_numbers_that_are_no_probabilities_agree_within_a_hundredth() -> None:
    prices = np.linspace(100, 900, 50, dtype=np.float32)[:, None]
    near = parity.compare({"price": prices}, {"price": prices * 1.005}, None)
    far = parity.compare({"price": prices}, {"price": prices * 1.05}, None)
    assert (near["agreement"], far["agreement"]) == (1.0, 0.0)


def test_formats_are_those_that_can_be_made() -> None:
    assert wanted("saved_model", "", "", False) == ["saved_model", "litert", "onnx"]
    assert wanted("pt2", "", "dynamic,int8", False) == [
        "pt2",
        "onnx",
        "litert-dynamic",
        "litert-int8",
    ]
    assert wanted("keras", "onnx", "", True) == ["saved_model", "onnx", "litert-micro"]
    assert wanted("onnx", "", "", False) == ["onnx"]
    for words, why in (
        (("saved_model", "executorch", "", False), "ExecuTorch is made of PyTorch's .pt2"),
        (("pt2", "saved_model", "", False), "what TensorFlow's models are"),
        (("pt2", "tensorrt", "", False), "--to tensorrt: not one of"),
        (("saved_model", "", "int4", False), "--quantize int4: not one of"),
        (("onnx", "", "int8", False), "LiteRT is made of a SavedModel or a .pt2"),
        (("saved_model", "", "dynamic", True), "is refused there"),
    ):
        with pytest.raises(UsageError, match=why):
            wanted(*words)


def some(rows: np.ndarray, source: str) -> Records:
    return Records({"image": rows}, None, source)


def test_a_private_runs_training_data_calibrates_nothing() -> None:
    random = np.random.default_rng(0)
    train = some(random.integers(0, 255, (300, 8, 8)).astype(np.uint8), "train")
    test = some(random.integers(0, 255, (300, 8, 8)).astype(np.uint8), "test")
    chosen = calibration.choose(test, train, True, test)
    assert (chosen.count, chosen.source) == (150, "test")  # the others prove it
    assert chosen.to_json()["records"] == 150 and len(chosen.to_json()["sha256"]) == 64
    mixed = some(np.concatenate([test.inputs["image"], train.inputs["image"][5:8]]), "mine.npz")
    with pytest.raises(UsageError, match=r"3 of 303 records of mine\.npz are the training data"):
        calibration.choose(mixed, train, True, test)
    assert calibration.choose(train, train, False, test).source == "train"


def test_what_calibrates_proves_nothing() -> None:
    random = np.random.default_rng(0)
    test = some(random.integers(0, 255, (1000, 8, 8)).astype(np.uint8), "test")
    chosen = calibration.choose(test, None, False, test)
    assert (chosen.count, int(chosen.others.sum())) == (200, 800)
    kept = test.inputs["image"][chosen.others]
    assert not {row.tobytes() for row in kept} & {row.tobytes() for row in chosen.inputs["image"]}
    assert chosen.to_json()["test_records_left_out"] == 200
    twice = some(np.concatenate([test.inputs["image"]] * 2), "test")  # nor does its like
    assert int(calibration.choose(test, None, False, twice).others.sum()) == 1600
    part = some(test.inputs["image"][:50].astype(np.float32), "mine.npz")
    assert int(calibration.choose(part, None, False, test).others.sum()) == 950
    public = some(random.integers(0, 255, (500, 8, 8)).astype(np.uint8), "public.npz")
    assert calibration.choose(public, None, False, test).others.all()
    with pytest.raises(UsageError, match=r"no test record is left .* of mine\.npz"):
        calibration.choose(part, None, False, some(part.inputs["image"], "test"))
