"""Runs of ours in other tools' formats, read back by these tools' own readers and by our import."""

from __future__ import annotations

import csv
import json
import math
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from tests.core.exchange.outside import BEGAN, shown, take, times, values
from traindeck.core.base.home import Home
from traindeck.core.exchange.giving import give
from traindeck.core.exchange.mlflow_write import _places
from traindeck.core.exchange.own import TOOL
from traindeck.core.exchange.parquet import MAGIC
from traindeck.core.exchange.runs import OutsideRun, Points

Command = Callable[..., subprocess.CompletedProcess[str]]
PARAMS: dict[str, Any] = {"lr": 1e-5, "layers": 3, "opt": "it's: adam", "flag": True, "none": None}
LOSS = [(0, 0.1), (1, math.inf), (2, 1 / 3), (10**6, -1e-300)]
FORMATS = ("tensorboard", "csv", "parquet", "mlflow", "jsonl")


def own_run(name: str = "my run", series: str = "val/loss") -> OutsideRun:
    points = Points(Path("run"))
    for step, value in LOSS:
        points.add(series, BEGAN + step / 4, step, value)
    points.add("acc", BEGAN + 0.25, 1, 0.5)
    points.add("acc", BEGAN + 0.5, 2, math.nan)
    return OutsideRun(
        TOOL, Path("run"), name, points, part="2qabcdef", params=dict(PARAMS), tags=["a tag"],
        notes="a note", started=BEGAN, ended=BEGAN + 60,
    )  # fmt: skip


def same(found: list[tuple[int, float]], wanted: list[tuple[int, float]]) -> bool:
    return str(found) == str(wanted)  # NaN is not equal to itself


@pytest.mark.parametrize("form", ["csv", "jsonl", "mlflow"])
def test_what_was_exported_is_imported_as_it_was(home: Home, tmp_path: Path, form: str) -> None:
    give(own_run(), [form], tmp_path / "out")
    [made] = take(home, tmp_path / "out")
    doc = shown(home, made)
    assert same(values(home, made, "val/loss"), LOSS)
    assert same(values(home, made, "acc"), [(1, 0.5), (2, math.nan)])
    assert times(home, made, "acc") == [BEGAN + 0.25, BEGAN + 0.5]
    assert doc["params"] == PARAMS


def test_tensorboard_reads_scalars_and_parameters(home: Home, tmp_path: Path) -> None:
    [folder] = give(own_run(), ["tensorboard"], tmp_path)
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    board.Reload()
    narrow = [
        (s, v if math.isinf(v) else struct.unpack("<f", struct.pack("<f", v))[0]) for s, v in LOSS
    ]
    assert same([(e.step, e.value) for e in board.Scalars("val/loss")], narrow)
    assert [e.wall_time for e in board.Scalars("acc")] == [BEGAN + 0.25, BEGAN + 0.5]
    content = board.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    start = HParamsPluginData.FromString(content).session_start_info
    assert start.hparams["lr"].number_value == 1e-5
    assert start.hparams["flag"].bool_value is True
    assert start.group_name == "my run"
    [made] = take(home, folder)
    assert same(values(home, made, "val/loss"), narrow)
    assert shown(home, made)["params"] == {**PARAMS, "none": "None"}


def test_many_points_are_as_sound_as_few(tmp_path: Path) -> None:
    run = own_run()
    for step in range(20_000):
        run.points.add("many", BEGAN, step, step / 7)
    [folder] = give(run, ["tensorboard"], tmp_path)
    board = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    board.Reload()  # raises where a checksum is wrong
    assert len(board.Scalars("many")) == 20_000


def test_a_csv_is_one_that_every_table_reads(tmp_path: Path) -> None:
    [folder] = give(own_run(), ["csv"], tmp_path)
    with (folder / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["val/loss"] for row in rows] == ["0.1", "inf", "0.3333333333333333", "-1e-300"]
    assert (rows[0]["acc"], rows[1]["acc"], rows[1]["step"]) == ("", "0.5", "1")
    assert folder.name == "my_run-2qabcdef"


def test_json_lines_are_strict_json(tmp_path: Path) -> None:
    def never(word: str) -> None:
        raise AssertionError(word)

    [folder] = give(own_run(), ["jsonl"], tmp_path)
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found = [json.loads(line, parse_constant=never) for line in lines]
    assert found[1] == {"step": 1, "time": BEGAN + 0.25, "val/loss": "Infinity", "acc": 0.5}


def test_parquet_is_read_by_pyarrow(tmp_path: Path) -> None:
    [folder] = give(own_run(), ["parquet"], tmp_path)
    data = (folder / "metrics.parquet").read_bytes()
    assert data[:4] == data[-4:] == MAGIC
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(folder / "metrics.parquet").to_pydict()
    assert table["series"] == ["val/loss"] * 4 + ["acc"] * 2
    assert table["step"] == [0, 1, 2, 10**6, 1, 2]
    assert same(list(enumerate(table["value"][:4])), list(enumerate(v for _, v in LOSS)))
    about = parquet.read_metadata(folder / "metrics.parquet").metadata
    assert json.loads(about[b"traindeck.params"]) == PARAMS


def test_mlflow_reads_its_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "1")
    give(own_run(), ["mlflow"], tmp_path)
    tracking = pytest.importorskip("mlflow.tracking")
    client = tracking.MlflowClient(f"file:{tmp_path}/mlruns")
    [experiment] = [each for each in client.search_experiments() if each.name == "traindeck"]
    [run] = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("my run", "FINISHED")
    assert run.data.params["opt"] == "it's: adam"
    history = client.get_metric_history(run.info.run_id, "val/loss")
    assert same([(m.step, m.value) for m in history], LOSS)


def test_to_export_once_more_replaces_and_leaves_the_rest(tmp_path: Path) -> None:
    out = tmp_path / "mlruns"
    for run in (own_run(series="before"), own_run()):
        places = give(run, FORMATS, out)
    (places[0] / "own.txt").write_text("of the user")
    assert give(own_run(), FORMATS, out) == places
    assert (places[0] / "own.txt").exists()
    assert [p.name for p in (places[1] / "metrics").iterdir()] == ["acc", "val"]
    assert not [p for p in out.rglob(".*") if p.name != ".trash"]


@pytest.mark.parametrize(
    "name", ["../../evil", "/etc/passwd", "..", "a/../../b", "x\0y\n", "é" * 300, ""]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    run = own_run(name, series=name)
    run.params[name] = name
    give(run, FORMATS, tmp_path / "a/b/out")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["out"]


def test_names_that_are_each_others_folders_stay_apart() -> None:
    names = ["loss", "loss/train", "loss/train/x", "loss_train", "a/b", "a b", "a:b", "a\tb", "a_b"]
    places = [path for _, path in _places(names)]
    assert len(set(places)) == len(names)
    assert not [(a, b) for a in places for b in places if b.startswith(f"{a}/")]


def recorded(home: Home, traindeck: Command, tmp_path: Path) -> str:
    script = tmp_path / "fit.py"
    script.write_text(
        "from traindeck.core.track import start\n"
        "with start() as run:\n"
        "    for step in range(3):\n"
        "        run.log(step, loss=1 / (step + 1), **{'private/grad_norm': 2.0})\n"
    )
    traindeck("run", "--wait", "--name", "fit", "--", sys.executable, str(script))
    return str(json.loads(traindeck("ls", "--json").stdout)[0]["id"])


def test_the_command_leaves_private_series_out(
    home: Home, tmp_path: Path, traindeck: Command
) -> None:
    run, out = recorded(home, traindeck, tmp_path), tmp_path / "out"
    told = traindeck("export", run, "--to", ",".join(FORMATS), str(out))
    assert "private series left out" in told.stderr
    assert all(b"grad_norm" not in p.read_bytes() for p in out.rglob("*") if p.is_file())
    assert not list(out.rglob("*grad_norm*"))
    traindeck("export", run, "--to", "csv,mlflow", "--private", "--into", str(out))
    assert "private/grad_norm" in (out / f"fit-{run}/metrics.csv").read_text()
    traindeck("export", run, "--to", "csv,mlflow", str(out))
    assert not list((out / "mlruns").rglob("*grad_norm*"))
    assert "grad_norm" not in (out / f"fit-{run}/metrics.csv").read_text()

    assert "say where to" in traindeck("export", run, "--to", "csv", code=2).stderr
    assert "say where to" in traindeck("export", run, run, "--to", "csv", code=2).stderr
    assert "of its model" in traindeck("export", run, "x", "--to", "csv,onnx", code=2).stderr
    assert (
        "is for models" in traindeck("export", run, "x", "--to", "csv", "--as", "m", code=2).stderr
    )
    assert "is for records" in traindeck("export", run, "--into", "x", code=2).stderr
    said = traindeck("export", run, "--to", "csvv", str(out), code=2).stderr
    assert "no format 'csvv'; did you mean csv? models: saved_model" in said
    assert "did you mean onnx?" in traindeck("export", run, "--to", "onxx", code=2).stderr
    assert "did you mean int8?" in traindeck("export", run, "--quantize", "int", code=2).stderr
    assert "at a time" in traindeck("export", run, run, code=2).stderr
    assert "no run 'nobody'" in traindeck("export", "nobody", "x", "--to", "csv", code=3).stderr
    (tmp_path / "file").write_text("")
    said = traindeck("export", run, "--to", "csv", str(tmp_path / "file"), code=1).stderr
    assert str(tmp_path / "file") in said


def test_what_a_run_showed_becomes_files_to_open(
    traindeck: Command, home: Home, tmp_path: Path
) -> None:
    script = tmp_path / "shows.py"
    script.write_text(
        "from traindeck.core import track\n"
        "with track.start() as run:\n"
        "    for step in (1, 2):\n"
        "        run.image(step, 'val/../samples', [[0.0, 1.0], [1.0, 0.0]])\n"
        "        run.histogram(step, 'weights', [1.0, 2.0, 2.0])\n"
        "    run.text(2, 'said', 'hello')\n"
        "    run.table(2, 'confusion', [[1, 'a']], ['n', 'who'])\n"
        "    run.text(2, 'private/said', 'secret')\n"
    )
    traindeck("run", "--wait", "--name", "shows", str(script))
    out = tmp_path / "out"
    for _ in range(2):  # what was there is replaced
        said = traindeck("export", "shows", "--to", "csv,media", str(out))
        assert "1 of what it showed left out as private" in said.stderr
    [folder] = out.iterdir()
    files = sorted(p.relative_to(folder / "media") for p in folder.glob("media/*/*"))
    assert list(map(str, files)) == [
        "confusion/0000000002.csv",
        "said/0000000002.txt",
        "val_.._samples/0000000001.png",
        "val_.._samples/0000000002.png",
        "weights/histograms.csv",
    ]
    assert (folder / "media/confusion/0000000002.csv").read_text().split() == ["n,who", "1,a"]
    assert (folder / "media/val_.._samples/0000000001.png").read_bytes().startswith(b"\x89PNG")
    with (folder / "media/weights/histograms.csv").open() as file:
        bins = list(csv.DictReader(file))
    assert [sum(int(b["count"]) for b in bins if b["step"] == step) for step in "12"] == [3, 3]
    traindeck("export", "shows", "--to", "media", "--private", str(out))
    assert (folder / "media/private_said/0000000002.txt").read_text() == "secret"
