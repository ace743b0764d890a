"""What other tools left becomes ended runs: series, parameters, tags, times, and none twice."""

from __future__ import annotations

import json
import math
import os
import sys
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.core.exchange.outside import (
    BEGAN,
    mlflow_database,
    mlflow_run,
    put,
    shown,
    take,
    times,
    values,
    wandb_file,
    wandb_records,
)
from tests.core.exchange.tensorboard import event_files as tb
from traindeck.core.again import again
from traindeck.core.base.errors import MissingError
from traindeck.core.base.home import Home
from traindeck.core.exchange import parquet
from traindeck.core.exchange.making import imported
from traindeck.core.exchange.plain_yaml import dump, load
from traindeck.core.exchange.runs import OutsideRun, Points, Unreadable
from traindeck.core.launch import LaunchError
from traindeck.core.run.folder import RunFolder

NAME = tb.NAME


def test_each_folder_with_event_files_is_a_run_with_its_times(home: Home, tmp_path: Path) -> None:
    for run in ("first", "second"):
        events = [
            tb.event(step, tb.simple("loss", 1 / (step + 1)), time=BEGAN + step) for step in (0, 1)
        ]
        tb.put(tmp_path / "logs" / run / NAME, *events)
    first, second = take(home, tmp_path / "logs")
    assert [shown(home, made)["name"] for made in (first, second)] == ["logs/first", "logs/second"]
    assert values(home, first, "loss") == [(0, 1.0), (1, 0.5)]
    assert times(home, first, "loss") == [BEGAN, BEGAN + 1]
    doc = shown(home, first)
    assert (doc["state"], doc["seconds"], doc["created"]) == ("finished", 1.0, BEGAN)


def test_logs_in_a_folder_are_runs_where_nothing_better_lies_beside_them(
    home: Home, tmp_path: Path
) -> None:
    said = "".join(f"epoch {epoch}: loss={1 / epoch}\n" for epoch in (1, 2, 3))
    put(tmp_path / "runs/plain/train.log", said)
    put(tmp_path / "runs/plain/server.log", "12:00:01 listening on port 8080\n" * 50)
    put(tmp_path / "runs/both/train.log", said)
    put(tmp_path / "runs/both/metrics.csv", "step,loss\n1,1.0\n2,0.5\n")
    made = {shown(home, one)["name"]: one for one in take(home, tmp_path / "runs")}
    assert set(made) == {"runs/plain/train", "runs/both"}
    assert values(home, made["runs/plain/train"], "loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]


def test_parts_of_a_run_are_one_run(home: Home, tmp_path: Path) -> None:
    for part in ("train", "validation"):
        tb.put(tmp_path / "fit" / part / NAME, tb.event(1, tb.tensor("epoch_loss", 0.5)))
    [made] = take(home, tmp_path / "fit")
    assert set(shown(home, made)["metrics"]) == {"train/epoch_loss", "validation/epoch_loss"}


def test_a_resumed_file_goes_on_where_the_first_was_left(home: Home, tmp_path: Path) -> None:
    def events(steps: range, value: float, begun: float) -> list[bytes]:
        return [tb.event(s, tb.simple("loss", value), time=begun + s) for s in steps]

    folder = tmp_path / "logs"
    tb.put(folder / "events.out.tfevents.1700000000.host.1.0", *events(range(6), 1.0, BEGAN))
    tb.put(
        folder / "events.out.tfevents.1700001000.host.2.0", *events(range(4, 8), 2.0, BEGAN + 1e3)
    )
    [made] = take(home, folder)
    assert values(home, made, "loss") == [(s, 1.0 if s < 4 else 2.0) for s in range(8)]


def test_tensorboards_hparams_become_parameters(home: Home, tmp_path: Path) -> None:
    start = plugin_data_pb2.SessionStartInfo()
    start.hparams["lr"].number_value = 0.1
    start.hparams["layers"].number_value = 3
    start.hparams["opt"].string_value = "adam"
    start.hparams["flag"].bool_value = True
    end = plugin_data_pb2.SessionEndInfo(status=2)

    def said(**info: object) -> Summary.Value:
        content = plugin_data_pb2.HParamsPluginData(**info).SerializeToString()  # type: ignore[arg-type]
        plugin = SummaryMetadata.PluginData(plugin_name="hparams", content=content)
        tag = f"_hparams_/{next(iter(info))}"
        return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=plugin))

    def event(value: Summary.Value) -> bytes:
        return Event(wall_time=BEGAN, summary=Summary(value=[value])).SerializeToString()

    tb.put(tmp_path / "run" / NAME, tb.event(1, tb.simple("loss", 0.5)))
    # torch's add_hparams writes into a folder of its own, called by the time
    tb.put(
        tmp_path / "run/1700000000.25" / NAME,
        event(said(session_start_info=start)),
        event(said(session_end_info=end)),
        tb.event(0, tb.simple("hp/acc", 0.5)),
    )
    [made] = take(home, tmp_path / "run")
    doc = shown(home, made)
    assert doc["params"] == {"lr": 0.1, "layers": 3, "opt": "adam", "flag": True}
    assert doc["state"] == "failed"
    assert set(doc["metrics"]) == {"loss", "hp/acc"}


def test_a_csv_of_keras_is_a_run(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "training.csv", "epoch,accuracy,loss\n0,0.5,1.0\n1,0.75,nan\n")
    [made] = take(home, path)
    assert values(home, made, "accuracy") == [(0, 0.5), (1, 0.75)]
    assert math.isnan(values(home, made, "loss")[1][1])
    assert shown(home, made)["name"] == "training"


def test_decimal_commas_between_semicolons_are_points(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "fit.csv", "epoch;loss;acc\n0;1,5;0,25\n1;-1,25e-3;0,5\n")
    for place in (path, tmp_path):
        [made] = take(home, place)
        assert values(home, made, "loss") == [(0, 1.5), (1, -1.25e-3)]


def test_steps_that_may_be_thousands_are_not_made_fractions(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "fit.csv", "step;loss\n500;1,5\n1,000;1,25\n")
    [made] = take(home, path)
    assert values(home, made, "loss") == [(500, 1.5)]


def test_a_script_is_no_log(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "train.py", "print('loss=0.5 epoch=1')\nprint('loss=0.25 epoch=2')\n")
    with pytest.raises(Unreadable, match="is a program"):
        take(home, path)


def test_lightnings_csv_brings_its_parameters(home: Home, tmp_path: Path) -> None:
    folder = tmp_path / "lightning_logs/version_0"
    put(folder / "metrics.csv", "epoch,step,train_loss,val_loss\n0,9,0.5,\n0,9,,0.7\n1,19,0.4,\n")
    put(
        folder / "hparams.yaml",
        "lr: 1.0e-05\nnet:\n  depth: 4\nbad: !!python/object/apply:os.system\n- id\n",
    )
    [made] = take(home, tmp_path)
    doc = shown(home, made)
    assert values(home, made, "train_loss") == [(9, 0.5), (19, 0.4)]
    assert values(home, made, "val_loss") == [(9, 0.7)]
    assert doc["params"]["lr"] == 1e-5
    assert doc["params"]["net.depth"] == 4
    assert "python/object" in doc["params"]["bad"]  # a text, and nothing more


def test_tensorboards_download_is_called_as_its_file(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "run-tag-loss.csv", f"Wall time,Step,Value\n{BEGAN},10,0.5\n")
    [made] = take(home, path)
    assert values(home, made, "run-tag-loss") == [(10, 0.5)]
    assert times(home, made, "run-tag-loss") == [BEGAN]


def test_a_table_of_points_is_read_as_metrics_prints_it(home: Home, tmp_path: Path) -> None:
    rows = (
        f"series,step,time,value\nloss,0,{BEGAN},0.5\nacc,0,{BEGAN},0.1\nloss,1,{BEGAN + 1},nan\n"
    )
    [made] = take(home, put(tmp_path / "points.csv", rows))
    assert str(values(home, made, "loss")) == "[(0, 0.5), (1, nan)]"
    assert values(home, made, "acc") == [(0, 0.1)]
    assert times(home, made, "loss") == [BEGAN, BEGAN + 1]


def test_steps_that_are_fractions_are_kept(home: Home, tmp_path: Path) -> None:
    lines = [{"epoch": at, "loss": at} for at in (0.5, 1.0, 1.5)]
    for path in (
        put(tmp_path / "a.csv", "epoch,loss\n0.5,0.5\n1.0,1.0\n1.5,1.5\n"),
        put(tmp_path / "b.jsonl", "\n".join(map(json.dumps, lines))),
    ):
        [made] = take(home, path)
        assert values(home, made, "loss") == [(0, 0.5), (1, 1.0), (2, 1.5)]
        assert values(home, made, "step") == [(0, 0.5), (1, 1.0), (2, 1.5)]


def test_no_row_of_a_csv_is_lost_to_the_order_of_its_steps(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "fit.csv", "step,loss\n2,0.2\n0,0.5\n1,0.3\n")
    [made] = take(home, path)
    assert values(home, made, "loss") == [(0, 0.5), (1, 0.3), (2, 0.2)]


def test_json_lines_are_a_run(home: Home, tmp_path: Path) -> None:
    lines = [{"step": s, "time": BEGAN + s, "loss": 0.5, "val": {"acc": s / 2}} for s in (0, 1)]
    path = put(tmp_path / "log.jsonl", "\n".join(map(json.dumps, lines)) + '\n{"step": 2, "lo')
    [made] = take(home, path)
    assert values(home, made, "val/acc") == [(0, 0.0), (1, 0.5)]
    assert times(home, made, "loss") == [BEGAN, BEGAN + 1]


def test_mlflows_runs_come_with_all_that_mlflow_knows(home: Home, tmp_path: Path) -> None:
    mlflow_run(tmp_path / "mlruns")
    mlflow_run(tmp_path / "mlruns", "b" * 32, status=4, name="broke")
    [made, broke] = take(home, tmp_path / "mlruns")
    doc = shown(home, made)
    assert (doc["name"], doc["state"], doc["seconds"]) == ("fit", "finished", 60.0)
    assert doc["params"] == {"lr": 0.1, "nested/layers": 3, "flag": True}
    assert (doc["tags"], doc["notes"]) == (["digits", "team=blue"], "a note")
    assert values(home, made, "loss") == [(0, 0.5), (1, 0.25)]
    assert values(home, made, "val/acc") == [(1, 0.9)]
    assert times(home, made, "loss") == [BEGAN, BEGAN + 1]
    assert shown(home, broke)["state"] == "failed"


def test_mlflows_database_is_read_as_its_folder_is(home: Home, tmp_path: Path) -> None:
    ms = int(BEGAN * 1000)
    largest = 1.7976931348623157e308  # how an infinity is kept there
    points = [(0.5, ms, 0, 0), (0.0, ms + 1000, 1, 1), (largest, ms, 2, 0)]
    mlflow_database(
        tmp_path / "mlflow.db",
        runs=[
            ("r1", "fit", "FINISHED", ms, ms + 60_000, "active", 1),
            ("r2", "gone", "FAILED", ms, None, "deleted", 1),
        ],
        metrics=[("loss", value, when, "r1", step, nan) for value, when, step, nan in points],
        params=[("lr", "0.1", "r1")],
        tags=[("team", "blue", "r1"), ("mlflow.note.content", "a note", "r1")],
    )
    [made] = take(home, tmp_path)
    doc = shown(home, made)
    assert (doc["name"], doc["state"], doc["seconds"]) == ("fit", "finished", 60.0)
    assert (doc["params"], doc["notes"]) == ({"lr": 0.1}, "a note")
    assert doc["tags"] == ["digits", "team=blue"]
    assert str(values(home, made, "loss")) == "[(0, 0.5), (1, nan), (2, inf)]"


@pytest.mark.parametrize(("code", "state"), [(0, "finished"), (3, "failed"), (None, "lost")])
def test_wandbs_offline_file_is_read(
    home: Home, tmp_path: Path, code: int | None, state: str
) -> None:
    steps = 2000  # several blocks of 32 KiB
    wandb_file(tmp_path / "wandb/offline-run-x/run-abc123.wandb", wandb_records(steps, code))
    [made] = take(home, tmp_path / "wandb")
    doc = shown(home, made)
    assert (doc["name"], doc["state"], doc["exit_code"]) == ("quiet-moon-1", state, code)
    assert doc["params"] == {"lr": 0.1, "net.depth": 3}
    assert doc["tags"] == ["proj", "tag"]
    assert values(home, made, "loss") == [(s, 1 / (s + 1)) for s in range(steps)]
    assert times(home, made, "loss")[:2] == [BEGAN, BEGAN + 1]
    assert set(doc["metrics"]) == {"loss"}


def test_wandbs_older_history_is_read(home: Home, tmp_path: Path) -> None:
    files = tmp_path / "wandb/run-20230101_000000-xyz/files"
    put(files / "wandb-history.jsonl", json.dumps({"_step": 3, "_timestamp": BEGAN, "loss": 0.5}))
    put(files / "config.yaml", "wandb_version: 1\n\nlr:\n  desc: null\n  value: 0.1\n")
    put(
        files / "wandb-metadata.json",
        json.dumps({"host": "far", "program": "t.py", "args": ["-x"]}),
    )
    [made] = take(home, tmp_path)
    doc = shown(home, made)
    assert (doc["name"], doc["params"]) == ("xyz", {"lr": 0.1})
    assert values(home, made, "loss") == [(3, 0.5)]
    source = json.loads((home.runs / made.id / "source/provenance.json").read_text())
    assert (source["host"], source["argv"]) == ("far", ["t.py", "-x"])


def test_a_log_is_read_as_that_of_a_live_run(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "train.log", "epoch 1: loss=0.5 acc: 91%\nepoch 2: loss=0.25 acc: 95%\n")
    [made] = take(home, path)
    assert values(home, made, "loss") == [(1, 0.5), (2, 0.25)]


def test_the_same_is_not_imported_twice_and_what_changed_is_told(
    home: Home, tmp_path: Path
) -> None:
    path = put(tmp_path / "fit.csv", "step,loss\n0,0.5\n")
    [first] = take(home, path)
    [again_] = take(home, path)
    assert (again_.id, again_.new) == (first.id, False)
    copy = put(tmp_path / "other/fit.csv", path.read_bytes())
    copy_stat = path.stat()
    os.utime(copy, ns=(copy_stat.st_atime_ns, copy_stat.st_mtime_ns))
    assert not take(home, copy)[0].new
    put(path, "step,loss\n0,0.5\n1,0.25\n")
    [grown] = take(home, path)
    assert (grown.new, grown.since) == (True, first.id)


def test_an_imported_run_says_what_it_is(home: Home, tmp_path: Path) -> None:
    path = put(tmp_path / "fit.csv", "step,loss\n0,0.5\n")
    [made] = take(home, path)
    doc, spec = shown(home, made), RunFolder(home.runs / made.id).spec()
    assert spec is not None
    assert doc["reason"] == "imported from CSV; how it ended is not said there"
    assert (doc["on"], doc["device"], spec["argv"], doc["exit_code"]) == ("", "", [], None)
    origin = imported(home.runs / made.id)
    assert origin is not None
    assert (origin["tool"], origin["place"]) == ("CSV", str(path))
    with pytest.raises(LaunchError, match="imported from CSV"):
        again(home, made.id, {})


def test_a_series_called_progress_is_a_series(home: Home, tmp_path: Path) -> None:
    [made] = take(home, put(tmp_path / "fit.csv", "step,progress\n0,0.5\n"))
    doc = shown(home, made)
    assert set(doc["metrics"]) == {"progress"}
    assert doc["progress"] is None


def test_yaml_is_read_as_far_as_it_is_plain() -> None:
    said = {
        "a": 1e-5,
        "b": "it's # no: comment",
        "c": None,
        "d": True,
        "e": [1, 2.5, "x"],
        "f g": "",
    }
    assert load(dump(said)) == said
    assert load("a: &x [1]\nb: *x\n? c\n: d\n\t- e\n")["b"] == "*x"
    assert load("- 1\n- 2\n") == {}


def test_parquet_comes_back_as_it_was_given(home: Home, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    run = OutsideRun("x", tmp_path, "mine", Points(tmp_path), part="1582z401", params={"lr": 0.1})
    for step in range(3):
        run.points.add("loss", BEGAN + step, step, 1 / (step + 1))
        run.points.add("acc", BEGAN + step, step, math.nan if step == 1 else 0.5)
    parquet.write(tmp_path, run)
    [made] = take(home, tmp_path / parquet.METRICS)
    doc = shown(home, made)
    assert (doc["name"], doc["params"]) == ("mine", {"lr": 0.1})
    assert values(home, made, "loss") == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert times(home, made, "loss") == [BEGAN, BEGAN + 1, BEGAN + 2]
    assert math.isnan(values(home, made, "acc")[1][1])


def test_parquet_of_any_library_is_read_as_a_table(home: Home, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pyarrow
    from pyarrow.parquet import write_table

    columns = {"epoch": [1, 2, 3], "val_loss": [0.5, None, 0.25], "note": ["a", "b", "c"]}
    write_table(pyarrow.table(columns), tmp_path / "fit.parquet")
    [made] = take(home, tmp_path / "fit.parquet")
    assert values(home, made, "val_loss") == [(1, 0.5), (3, 0.25)]
    (tmp_path / "torn.parquet").write_bytes(b"PAR1torn")
    with pytest.raises(Unreadable, match="pyarrow cannot read it"):
        take(home, tmp_path / "torn.parquet")


def test_without_pyarrow_it_says_what_installs_it(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = put(tmp_path / "x.parquet", "PAR1")
    with pytest.raises(MissingError, match="pip install pyarrow") as missing:
        take(home, path)
    assert missing.value.exit_code == 4
