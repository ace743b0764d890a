"""What a name stands for in a run, runs told together, and in what runs differ."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tests.tui.homes import make_run
from traindeck.core.base.errors import UsageError
from traindeck.core.base.home import Home
from traindeck.core.base.nearest import nearest
from traindeck.core.catalogue.differences import differences
from traindeck.core.catalogue.document import RunDoc, document, with_metrics
from traindeck.core.catalogue.groups import Spread, grouped, in_common, keys_of, spread, varied
from traindeck.core.catalogue.query import QueryError, parse
from traindeck.core.catalogue.values import falls, names_of, order, pick, picks
from traindeck.core.run.folder import RunFolder
from traindeck.core.run.points import PointWriter, summarize


def run(home: Home, number: int, **facts: Any) -> RunDoc:
    run_id = make_run(home, number, index=False, **facts)
    doc = document(RunFolder(home.runs / run_id))
    assert doc is not None
    return doc


class TestNames:
    def test_a_column_is_a_field_a_parameter_or_a_metric_by_its_end(self, home: Home) -> None:
        doc = run(home, 1, metric=0.9, params={"lr": 0.1, "mode": "graph"})
        values = {
            text: pick(text).value(doc)
            for text in ("name", "lr", "params.lr", "mode", "accuracy", "test/accuracy", "took")
        }
        assert values == {
            "name": "mnist-1",
            "lr": 0.1,
            "params.lr": 0.1,
            "mode": "graph",
            "accuracy": 0.9,
            "test/accuracy": 0.9,
            "took": 83.0,
        }
        assert pick("nothing").value(doc) is None

    def test_the_best_comes_with_the_step_where_it_first_stood(self, home: Home) -> None:
        run_id = make_run(home, 1, index=False)
        writer = PointWriter(home.runs / run_id)
        for step, (loss, accuracy) in enumerate([(3.0, 0.1), (0.5, 0.9), (0.5, 0.9), (1.0, 0.7)]):
            writer.add(step, {"test/loss": loss, "test/accuracy": accuracy})
        writer.close()
        doc = document(RunFolder(home.runs / run_id))
        assert doc is not None
        loss, accuracy = pick("loss:best"), pick("accuracy:best")
        assert (loss.value(doc), loss.step(doc)) == (0.5, 1)
        assert (accuracy.value(doc), accuracy.step(doc)) == (0.9, 1)
        assert pick("loss:max").value(doc) == 3.0
        assert pick("loss").step(doc) is None

    def test_what_an_earlier_version_recorded_has_a_best_without_a_step(self, home: Home) -> None:
        doc = run(home, 1, metric=0.9)
        for summary in doc["metrics"].values():
            del summary["min_step"], summary["max_step"]
        best = pick("accuracy:best")
        assert (best.value(doc), best.step(doc)) == (0.9, None)

    def test_best_is_least_of_what_should_fall(self) -> None:
        for name in (
            "loss",
            "train/loss",
            "val_loss",
            "logloss",
            "error",
            "top1/err",
            "epoch_time",
        ):
            assert falls(name), name
        for name in ("accuracy", "loss/accuracy", "f1", "glossary", "auc"):
            assert not falls(name), name

    def test_a_slip_is_an_error_with_the_nearest_names(self, home: Home) -> None:
        known = names_of([run(home, 1, metric=0.9, params={"lr": 0.1, "momentum": 0.9})])
        with pytest.raises(UsageError, match="did you mean momentum"):
            picks("name,momentun", known)
        with pytest.raises(UsageError, match=r"did you mean test/accuracy"):
            pick("acuracy:best", known)
        assert [each.text for each in picks("name, lr,lr", known)] == ["name", "lr"]
        assert nearest("zzz", known) == []

    def test_private_series_are_meant_by_their_whole_name_only(self, home: Home) -> None:
        run_id = make_run(home, 1, index=False)
        writer = PointWriter(home.runs / run_id)
        writer.add(1, {"private/loss": 1.0})
        writer.close()
        doc = document(RunFolder(home.runs / run_id))
        assert doc is not None
        assert pick("loss").value(doc) is None
        assert pick("private/loss").value(doc) == 1.0
        with pytest.raises(UsageError):
            pick("loss", names_of([doc]))

    def test_numbers_are_ordered_before_words_and_nothing_nowhere(self) -> None:
        values = ["b", 2, None, 1.5, "A", True, math.nan, ""]
        known = [value for value in values if order(value) is not None]
        assert sorted(known, key=order) == [True, 1.5, 2, "A", "b"]  # type: ignore[arg-type]


class TestQueries:
    NAMES = ("lr", "mode", "momentum", "test/accuracy")

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("acuracy>0.9", "did you mean test/accuracy"),
            ("momentm<1", "did you mean momentum"),
            ("stat:running", "did you mean state"),
            ("lr<=0.1 tok<5m", "did you mean took"),
        ],
    )
    def test_a_slip_is_an_error_with_the_nearest_names(self, text: str, says: str) -> None:
        with pytest.raises(QueryError, match=says):
            parse(text, names=self.NAMES)

    def test_parameters_tags_and_times_are_fields(self, home: Home) -> None:
        doc = run(home, 1, params={"lr": 0.1, "mode": "graph"}, age=7200, seconds=400)
        for text in (
            *("lr:0.1", "mode:gr*", "params.lr<1", "took>5m", "-took>10m", "took<6m41s"),
            *("age>1h", "created:2027", "progress:none"),
        ):
            known = parse(text, lambda: 1_800_000_000.0, names=self.NAMES)
            assert known.matches(doc) == (text != "progress:none"), text
        assert not parse("eta<1h").matches(doc)

    def test_without_runs_any_name_may_be_meant(self) -> None:
        assert not parse("acuracy>0.9").matches({"metrics": {}, "params": {}})


class TestGroups:
    def test_mean_and_deviation_over_seeds(self, home: Home) -> None:
        docs = [
            run(home, n, metric=value, params={"lr": lr, "seed": n, "mode": "graph"})
            for n, (lr, value) in enumerate([(0.1, 0.8), (0.01, 0.5), (0.1, 0.9), (0.1, 0.7)])
        ]
        assert varied(docs) == ["lr", "seed"]
        high, low = grouped(docs, picks("lr"))
        assert (high.key, len(high.docs), low.key) == ((0.1,), 3, (0.01,))
        accuracy = in_common(high, pick("accuracy"))
        assert isinstance(accuracy, Spread)
        assert accuracy.mean == pytest.approx(0.8)
        assert accuracy.std == pytest.approx(0.1)
        assert accuracy.count == 3
        assert in_common(low, pick("accuracy")) == Spread(0.5, None, 1)
        assert in_common(high, pick("mode")) == "graph"
        assert in_common(high, pick("name")) is None

    def test_of_a_run_that_goes_on_nothing_is_averaged_with_those_that_ended(
        self, home: Home
    ) -> None:
        docs = [run(home, n, metric=n / 10, params={"lr": 0.1}) for n in (4, 6, 9)]
        docs[2]["state"] = "running"
        (group,) = grouped(docs, picks("lr"))
        known = in_common(group, pick("accuracy"))
        assert isinstance(known, Spread)
        assert (known.mean, known.count) == (pytest.approx(0.5), 2)
        for doc in docs:
            doc["state"] = "running"
        assert in_common(group, pick("accuracy")).count == 3

    def test_a_parameter_of_some_run_is_what_all_are_grouped_by(self, home: Home) -> None:
        docs = [run(home, n, params={"lr": 0.1} if n < 2 else {}) for n in range(3)]
        for doc in docs:
            doc["metrics"]["lr"] = {"last": 0.01 * len(doc["params"]), "count": 9}
        by = keys_of(picks("lr,state"), docs)
        assert [each.text for each in by] == ["lr", "state"]
        groups = {group.key: len(group.docs) for group in grouped(docs, by)}
        assert groups == {(0.1, "finished"): 2, (None, "finished"): 1}
        assert groups == {
            group.key: len(group.docs) for group in grouped(docs, picks("params.lr,state"))
        }
        [without] = keys_of(picks("lr"), docs[2:])
        assert without.value(docs[2]) == 0.0  # the metric, where no run has the parameter

    def test_a_run_is_in_the_group_of_each_of_its_tags(self, home: Home) -> None:
        docs = [run(home, n) for n in range(3)]
        docs[0]["tags"], docs[1]["tags"] = ["a", "b"], ["b"]
        groups = {group.key[0]: len(group.docs) for group in grouped(docs, picks("tag"))}
        assert groups == {"a": 1, "b": 2, None: 1}

    def test_what_is_not_finite_counts_for_nothing(self) -> None:
        assert spread([1.0, math.nan, math.inf, None, "x", True]) == Spread(1.0, None, 1)
        assert spread([None]) is None


class TestDifferences:
    def keep(self, doc: RunDoc, script: str, **packages: str) -> None:
        source = Path(doc["path"]) / "source"
        source.mkdir()
        (source / "train.py").write_text(script)
        known = {
            "packages": packages,
            "python": {"version": "3.11.2 (main)", "executable": "/usr/bin/python"},
            "git": {"commit": "abc", "branch": "main", "dirty": False},
        }
        (source / "provenance.json").write_text(json.dumps(known))

    def test_parameters_packages_and_code_that_differ_are_told(self, home: Home) -> None:
        one = run(home, 1, params={"lr": 0.1, "epochs": 10})
        other = run(home, 2, params={"lr": 0.1, "epochs": 20, "warmup": 5})
        self.keep(one, "a = 1\nb = 2\n", torch="2.1", numpy="2.0")
        self.keep(other, "a = 1\nb = 3\n", torch="2.2", numpy="2.0")
        found = differences([one, other])
        assert found.params == {"epochs": [10, 20], "warmup": ["–", 5]}
        assert found.packages == {"torch": ["2.1", "2.2"]}
        assert "commit" not in found.facts
        (diff,) = found.diffs
        assert [line for line in diff if line[1:].startswith("b")] == ["-b = 2", "+b = 3"]

    def test_a_script_that_was_renamed_is_named_as_each_run_had_it(self, home: Home) -> None:
        one, other = run(home, 1), run(home, 2)
        self.keep(one, "a = 1\n")
        self.keep(other, "a = 2\n")
        source = home.runs / other["id"] / "source"
        (source / "train.py").rename(source / "crash.py")
        (diff,) = differences([one, other]).diffs
        assert diff[0].startswith("--- train.py of") and diff[1].startswith("+++ crash.py of")

    def test_folders_without_provenance_differ_in_nothing(self, home: Home) -> None:
        found = differences([run(home, 1), run(home, 2)])
        assert not found.packages and not found.facts and found.diffs == [[]]


def test_a_resumed_run_forgets_the_best_it_took_back(tmp_path: Path) -> None:
    writer = PointWriter(tmp_path)
    for step, value in [(1, 0.5), (2, 0.9), (3, 0.6), (2, 0.7), (3, 0.8)]:
        writer.add(step, {"accuracy": value})
    writer.close()
    summary = summarize(tmp_path)["accuracy"]
    assert (summary["max"], summary["max_step"]) == (0.8, 3)
    assert (summary["min"], summary["min_step"]) == (0.5, 1)


@pytest.mark.parametrize(
    ("counts", "headline"),
    [
        ({"loss": 9, "Final_accuracy": 1}, "loss"),
        ({"loss": 9, "val_accuracy": 3, "Final_accuracy": 1}, "val_accuracy"),
        ({"loss": 1, "Final_accuracy": 1}, "Final_accuracy"),
    ],
)
def test_one_point_speaks_for_a_run_only_where_no_series_has_more(
    home: Home, counts: dict[str, int], headline: str
) -> None:
    doc = run(home, 1)
    series: Any = {name: {"count": count} for name, count in counts.items()}
    assert with_metrics(doc, series)["headline"] == headline
