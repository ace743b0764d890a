"""What a run leaves to be exported: whole, as it was recorded, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from traindeck.core import track
from traindeck.core.base.errors import NotFoundError, TraindeckError, UsageError
from traindeck.core.models import servable
from traindeck.core.models.bundle import Tensor

INPUTS = {"image": Tensor(dtype="uint8", shape=[8, 8])}
OUTPUTS = {"probabilities": Tensor(dtype="float32", shape=[10], labels=list("0123456789"))}


def write(folder: Path) -> None:
    (folder / "model.pt2").write_bytes(b"weights")


@pytest.fixture
def run(tmp_path: Path) -> track.Run:
    return track.Run(folder=tmp_path / "runs" / "abc")


def test_what_a_run_leaves_is_found_with_its_signature(run: track.Run) -> None:
    assert run.folder is not None
    run.servable(write, INPUTS, OUTPUTS)
    found = servable.find(run.folder)
    assert found.kind == "pt2" and found.model.read_bytes() == b"weights"
    assert found.signature and found.signature["outputs"]["probabilities"]["shape"] == [10]
    assert found.sha256 and set(found.sha256) == {"model.pt2", "signature.json"}
    assert found.data == ""


def test_the_data_is_known_by_a_key_that_tells_nothing(
    run: track.Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run.folder is not None
    monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path / "home"))
    run.use("ab" * 32)
    run.servable(write, INPUTS, OUTPUTS)
    key = servable.find(run.folder).data
    assert key.startswith("hmac:") and "ab" * 32 not in (run.folder / "events.jsonl").read_text()


def test_a_later_one_takes_the_place_of_an_earlier(run: track.Run) -> None:
    assert run.folder is not None
    run.servable(write, INPUTS, OUTPUTS)
    run.servable(lambda folder: (folder / "model.onnx").write_bytes(b"o"), INPUTS, OUTPUTS)
    found = servable.find(run.folder)
    assert found.kind == "onnx"
    assert sorted(p.name for p in found.model.parent.iterdir()) == ["model.onnx", "signature.json"]


@pytest.mark.parametrize("suffix", [".pt2", ".onnx", ".tflite", ".keras"])
def test_a_script_may_name_a_file_that_it_wrote(
    run: track.Run, suffix: str, tmp_path: Path
) -> None:
    assert run.folder is not None
    (tmp_path / f"mine{suffix}").write_bytes(b"m")
    run.servable(tmp_path / f"mine{suffix}")
    found = servable.find(run.folder)
    assert found.model.name == f"model{suffix}" and found.signature is None


def test_a_script_may_name_a_saved_model(run: track.Run, tmp_path: Path) -> None:
    assert run.folder is not None
    (tmp_path / "saved" / "variables").mkdir(parents=True)
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"graph")
    run.servable(tmp_path / "saved")
    found = servable.find(run.folder)
    assert found.kind == "saved_model" and (found.model / "variables").is_dir()


def test_a_script_may_name_weights_and_the_code_that_builds_their_module(
    run: track.Run, tmp_path: Path
) -> None:
    assert run.folder is not None
    (tmp_path / "w.safetensors").write_bytes(b"w")
    (tmp_path / "net.py").write_text("class Net: ...\n")
    run.servable(tmp_path / "w.safetensors", INPUTS, OUTPUTS, code=f"{tmp_path}/net.py:Net")
    found = servable.find(run.folder)
    assert (found.kind, found.model.name) == ("safetensors", "model.safetensors")
    assert found.sha256 and set(found.sha256) == {
        *("model.safetensors", "model.py", "builder.txt", "signature.json")
    }
    found.model.with_name("model.py").write_text("class Net: other = 1\n")
    with pytest.raises(TraindeckError, match="nothing of it is loaded"):
        servable.find(run.folder)
    with pytest.raises(UsageError, match="weights are no model without code"):
        servable.find(run.folder, str(found.model))


@pytest.mark.parametrize(
    ("model", "code", "why"),
    [
        ("w.safetensors", "", "is weights alone: code="),
        ("w.safetensors", "net.py", "a file and what builds the module"),
        ("w.safetensors", "net.py:Other", "has no function and no class Other"),
        ("w.safetensors", "torn.py:Net", "is no Python"),
        ("w.onnx", "net.py:Net", "code= is for a file .safetensors"),
    ],
)
def test_weights_whose_code_is_not_there_are_no_servable(
    tmp_path: Path, model: str, code: str, why: str
) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"w")
    (tmp_path / "w.onnx").write_bytes(b"w")
    (tmp_path / "net.py").write_text("def Net(): ...\n")
    (tmp_path / "torn.py").write_text("class\n")
    with pytest.raises(UsageError, match=why):
        servable.leave(
            tmp_path / "artifacts", tmp_path / model, None, None, f"{tmp_path}/{code}" * bool(code)
        )


def test_what_cannot_be_left_costs_a_warning_and_nothing_else(
    run: track.Run, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run.folder is not None

    def fail(folder: Path) -> None:
        write(folder)
        raise ValueError("this model\ncannot be exported")

    run.servable(fail, INPUTS, OUTPUTS)
    run.servable(tmp_path / "nothing.pt2")
    run.servable(lambda folder: None, INPUTS, OUTPUTS)
    said = capfd.readouterr().out
    assert "warning: no servable: this model cannot be exported\n" in said
    assert "is no SavedModel and no file .pt2, .onnx, .tflite, .keras" in said
    assert "holds 0 of saved_model.pb" in said
    assert list(run.artifacts.iterdir()) == []
    with pytest.raises(NotFoundError, match="has left no servable"):
        servable.find(run.folder)


def test_what_was_changed_since_is_not_loaded(run: track.Run) -> None:
    assert run.folder is not None
    run.servable(write, INPUTS, OUTPUTS)
    (run.artifacts / "servable" / "model.pt2").write_bytes(b"other weights")
    with pytest.raises(TraindeckError, match="is not what run abc recorded"):
        servable.find(run.folder)
    (run.artifacts / "servable" / "model.pt2").write_bytes(b"weights")
    (run.artifacts / "servable" / "more.bin").touch()
    with pytest.raises(TraindeckError, match="is not what run abc recorded"):
        servable.find(run.folder)


def test_a_run_whose_home_was_moved_keeps_its_servable(run: track.Run, tmp_path: Path) -> None:
    run.servable(write, INPUTS, OUTPUTS)
    (tmp_path / "runs").rename(tmp_path / "moved")
    found = servable.find(tmp_path / "moved" / "abc")
    assert found.model == tmp_path / "moved" / "abc" / "artifacts" / "servable" / "model.pt2"


def test_a_model_is_named_here_or_among_the_artifacts(run: track.Run, tmp_path: Path) -> None:
    assert run.folder is not None
    (run.artifacts / "mine.onnx").write_bytes(b"m")
    assert servable.find(run.folder, "mine.onnx").kind == "onnx"
    assert servable.find(run.folder, str(run.artifacts / "mine.onnx")).kind == "onnx"
    with pytest.raises(NotFoundError, match=r"--file other\.onnx: no SavedModel and no file"):
        servable.find(run.folder, "other.onnx")


def test_the_event_says_the_sums_of_the_files(run: track.Run) -> None:
    assert run.folder is not None
    run.servable(write, INPUTS, OUTPUTS)
    [line] = (run.folder / "events.jsonl").read_text().splitlines()
    event = json.loads(line)
    assert event["kind"] == "servable"
    assert event["sha256"]["model.pt2"].startswith("9a129038")


def test_two_models_are_none(tmp_path: Path) -> None:
    def both(folder: Path) -> None:
        write(folder)
        (folder / "model.onnx").touch()

    with pytest.raises(UsageError, match="holds 2 of"):
        servable.leave(tmp_path, both, INPUTS, OUTPUTS)
    assert list(tmp_path.iterdir()) == []
