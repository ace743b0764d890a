"""The axes of a home with made-up runs: what is shown, from which runs, and what is not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.core.versus.compared import (
    DEVICES,
    a_format,
    made_bundle,
    made_federation,
    made_mistakes,
    made_mixed,
    made_scaling,
    made_server,
    made_steps,
    made_twins,
    ran,
)
from traindeck.core.base.errors import UsageError
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.recipe.params import ParamError
from traindeck.core.versus.evidence import gather
from traindeck.core.versus.measured import Indicator, Sample
from traindeck.core.versus.pairs import suite
from traindeck.core.versus.queue import missing
from traindeck.core.versus.report import Report, make


def report_of(home: Home, *names: str) -> Report:
    pair = (names[0], names[1]) if names else None
    return make(home, suite(home, pair, {}), devices=lambda: DEVICES)


def indicator(report: Report, axis: str, name: str) -> Indicator:
    [found] = [
        one
        for each in report.axes
        if each.id == axis
        for one in each.indicators
        if one.name == name
    ]
    return found


def medians(one: Indicator) -> list[float | None]:
    return [side.median if side else None for side in one.sides]


def test_an_empty_home_says_what_makes_each_number(home: Home) -> None:
    report = report_of(home)
    assert [axis.id for axis in report.axes] == [
        "ease", "paradigm", "ecosystem", "privacy", "hardware", "deployment",
    ]  # fmt: skip
    speed = indicator(report, "paradigm", "eager: steady speed")
    assert speed.missing() == (
        "not measured: no steps were timed in mode eager; make it with: traindeck versus run"
    )
    dp = indicator(report, "privacy", "private: accuracy")
    assert dp.missing().endswith("make it with: traindeck versus run --full")
    lines = indicator(report, "ease", "lines of code")
    assert all(value and 40 < value < 150 for value in medians(lines))


def test_the_twins_first_metric_comes_from_their_runs_and_seeds(home: Home) -> None:
    ids = made_twins(home)
    one = indicator(report_of(home), "ease", "first metric")
    assert [side.values for side in one.sides if side] == [
        pytest.approx((3.0, 3.1, 3.2)),
        pytest.approx((6.0, 6.1, 6.2)),
    ]
    assert one.winner == 0
    a, b = one.sides
    assert a and b
    assert [source.run for source in a.sources] == ids[::2]
    assert [source.seed for source in b.sources] == [0, 1, 2]


def test_runs_that_were_not_made_by_turns_are_no_evidence(home: Home) -> None:
    params = {"epochs": 30, "batch_size": 32, "lr": 0.1, "seed": 0, "mode": "eager"}
    ran(home, 1, "torch-digits", "other", params, {"test/accuracy": [0.5]})
    assert medians(indicator(report_of(home), "ease", "first metric")) == [None, None]


def test_of_several_settings_that_with_most_runs_on_both_sides_is_shown(home: Home) -> None:
    ids = made_twins(home)
    params = {"epochs": 2, "batch_size": 32, "lr": 0.1, "resume": None, "seed": 0, "mode": "eager"}
    for number in range(90, 95):
        ran(home, number, "torch-digits", "twin", params, {"test/accuracy": [0.5]})
    report = report_of(home)
    a, b = indicator(report, "ease", "first metric").sides
    assert a and b
    assert {source.run for source in (*a.sources, *b.sources)} == set(ids)


def test_speeds_are_compared_where_the_first_losses_are_equal(home: Home) -> None:
    made_steps(home)
    report = report_of(home)
    speed = indicator(report, "paradigm", "eager: steady speed")
    assert speed.winner == 0 and not speed.held
    assert "PyTorch: eager: first step" in report.axes[1].verdict(report.labels)
    cpu = indicator(report, "paradigm", "eager: CPU a step")
    assert medians(cpu) == [1.0, 2.0]


def test_speeds_are_not_compared_where_the_first_losses_differ(home: Home) -> None:
    made_steps(home, skew=0.01)
    report = report_of(home)
    speed = indicator(report, "paradigm", "eager: steady speed")
    assert speed.winner is None
    assert "the losses of the first 5 steps differ by" in speed.held
    assert medians(speed) == [9050.0, 4050.0], "they are shown all the same"
    assert indicator(report, "paradigm", "eager: memory").winner == 0


def test_a_difference_within_the_spread_is_none(home: Home) -> None:
    made_steps(home, speeds=(9000.0, 9060.0))
    assert indicator(report_of(home), "paradigm", "eager: steady speed").winner is None


def test_words_of_errors_and_what_tracing_refuses(home: Home) -> None:
    made_mistakes(home)
    report = report_of(home)
    assert medians(indicator(report, "ease", "words for a wrong shape")) == [11.0, 31.0]
    traced = indicator(report, "paradigm", "programs that tracing refuses")
    assert traced.note == "PyTorch refuses a loop, a branch; TensorFlow refuses a loop"


def test_pysyft_is_an_overhead_and_no_rival(home: Home) -> None:
    run = made_federation(home)
    report = report_of(home)
    one = indicator(report, "privacy", "PySyft: overhead over training in the clear")
    assert medians(one) == [pytest.approx(0.225 / 0.05), None]
    assert one.winner is None and not one.better
    assert one.sides[0] and one.sides[0].sources[0].run == run
    update = indicator(report, "privacy", "PySyft: update bytes")
    assert medians(update) == [10.0, None], "kB of each owner in each round"
    seen = indicator(report, "privacy", "the aggregator can read").sides[0]
    assert seen and "only the sum over at least 2 owners" in seen.text


def test_formats_come_from_bundles(home: Home) -> None:
    onnx = a_format("model.onnx", 1e-6, 21_000, 0.02)
    made_bundle(home, "torch-digits", {"onnx": onnx, "pt2": a_format("m.pt2", 0.0, 40_000, 0.1)})
    made_bundle(home, "tf-digits", {"onnx": {**onnx, "bytes": 22_000}})
    report = report_of(home)
    passing = indicator(report, "deployment", "formats that pass")
    assert medians(passing) == [2.0, 1.0] and passing.winner is None
    size = indicator(report, "deployment", "onnx: size")
    assert medians(size) == [21.0, 22.0]
    assert size.sides[0] and size.sides[0].sources[0].command == (
        "traindeck models show torch-digits/1"
    )
    assert medians(indicator(report, "deployment", "pt2: size")) == [40.0, None]


def test_two_workers_over_one_seed_by_seed(home: Home) -> None:
    made_scaling(home)
    scaling = indicator(report_of(home), "hardware", "speed at 2 workers over 1")
    assert medians(scaling) == [pytest.approx(1.5), None]
    assert scaling.sides[0] and scaling.sides[0].values == pytest.approx((1.4, 1.5, 1.6))
    assert scaling.missing().endswith("make it with: traindeck versus run --full")


def test_workers_that_others_may_have_disturbed_are_no_evidence(home: Home) -> None:
    made_scaling(home, "x")
    scaling = indicator(report_of(home), "hardware", "speed at 2 workers over 1")
    assert medians(scaling) == [None, None]


def test_bfloat16_is_over_float32_of_the_same_framework_and_seed(home: Home) -> None:
    made_steps(home)
    made_mixed(home, (0.6, 1.2))
    report = report_of(home)
    speed = indicator(report, "hardware", "eager bfloat16: speed")
    assert [side.values for side in speed.sides if side] == [
        pytest.approx((0.6,) * 3),
        pytest.approx((1.2,) * 3),
    ], "below 1 where it is slower"
    assert not speed.held and speed.winner is None, "other losses than float32's are no obstacle"
    cpu = indicator(report, "hardware", "eager bfloat16: CPU a step")
    assert medians(cpu) == [pytest.approx(1 / 0.6), pytest.approx(1 / 1.2)]
    assert medians(indicator(report, "paradigm", "eager: steady speed")) == [9050.0, 4050.0]
    graph = indicator(report, "hardware", "graph bfloat16: speed")
    assert graph.missing().endswith("make it with: traindeck versus run --full")


def test_servers_that_a_comparison_asked_show_latency_memory_and_start_up(home: Home) -> None:
    bundle = made_bundle(home, "torch-digits", {"onnx": a_format("m.onnx", 0.0, 1, 1.0)})
    ids = [made_server(home, number, bundle) for number in (80, 81, 82)]
    made_server(home, 83, bundle, "x")
    made_server(home, 84, bundle.with_name("2"))
    report = report_of(home)
    for name, value in (("latency", 0.35), ("memory", 92.0), ("start-up", 1.5)):
        one = indicator(report, "deployment", f"served: {name}")
        assert medians(one) == [pytest.approx(value), None]
        assert one.sides[0] and [source.run for source in one.sides[0].sources] == ids
        assert one.missing().endswith("make it with: traindeck versus run --full")


def test_what_is_missing_comes_by_turns_and_only_once(home: Home) -> None:
    def wanted(**params: int) -> list[Any]:
        two = suite(home, None, params)
        return [
            (one.task.recipe, one.seed)
            for one in missing(gather(home, two), two)
            if one.task.role == "twin"
        ]

    assert wanted() == [
        (recipe, seed) for seed in (0, 1, 2) for recipe in ("torch-digits", "tf-digits")
    ]
    made_twins(home, 2)
    assert wanted() == [("torch-digits", 2), ("tf-digits", 2)]
    assert len(wanted(epochs=2)) == 6, "those there are trained for longer"


def test_what_is_set_side_by_side_is_run_by_turns(home: Home) -> None:
    def wanted(full: bool, role: str) -> list[tuple[str, int | None]]:
        two = suite(home, None, {}, full)
        return [
            (f"{one.task.recipe} {one.task.role.partition(':')[2]}", one.seed)
            for one in missing(gather(home, two), two)
            if one.task.role.startswith(role)
        ]

    turn = ("torch-steps eager", "tf-steps eager")
    mixed = ("torch-steps eager:bfloat16", "tf-steps eager:bfloat16")
    quick = [(name, seed) for seed in (0, 1, 2) for name in (*turn, *mixed)]
    assert wanted(False, "steps:eager") == quick
    assert not any("bfloat16" in name for name, _ in wanted(False, "steps:graph"))
    assert ("tf-steps graph:bfloat16", 4) in wanted(True, "steps:graph")
    scaled = wanted(True, "scaling")
    assert [name for name, seed in scaled if seed == 0] == [
        "torch-mnist mnist:1", "tf-mnist mnist:1", "torch-mnist mnist:2", "tf-mnist mnist:2",
    ]  # fmt: skip
    assert wanted(False, "scaling") == wanted(False, "serve") == []


def test_a_bundle_is_served_three_times_and_what_left_no_model_is_not(home: Home) -> None:
    def wanted() -> list[int]:
        two = suite(home, None, {}, full=True)
        return [
            one.task.side for one in missing(gather(home, two), two) if one.task.role == "serve"
        ]

    assert wanted() == [0, 1] * 3
    made_twins(home)
    assert wanted() == [], "the runs are there, and left nothing to serve"
    bundle = made_bundle(home, "tf-digits", {"onnx": a_format("m.onnx", 0.0, 1, 1.0)})
    assert wanted() == [1] * 3
    made_server(home, 90, bundle)
    assert wanted() == [1] * 2


def test_once_the_short_ones_are_there_the_long_ones_are_offered(home: Home) -> None:
    report = report_of(home)
    assert report.command == "traindeck versus run"
    for made, offered in (
        (["traindeck versus run"], "traindeck versus run --full"),
        (["traindeck versus run", "traindeck versus run --full"], ""),
    ):
        axes = (
            replace(axis, indicators=tuple(one for one in axis.indicators if one.make not in made))
            for axis in report.axes
        )
        assert replace(report, axes=tuple(axes)).command == offered


def test_of_one_side_that_is_not_there_the_label_is_told() -> None:
    one = Indicator("packages", (Sample((3.0,)), None), why="no bundle")
    assert one.missing(("A", "B")) == "B not measured: no bundle"
    assert replace(one, sides=(None, None)).missing(("A", "B")) == "not measured: no bundle"


def test_the_load_under_which_a_run_began_is_told(home: Home) -> None:
    [first, *_] = made_twins(home, 1)
    tags = ["versus", "versus:twin", "load:3.5"]
    write_json(home.runs / first / "user.json", {"tags": tags})
    Catalogue(home).sync(home.runs / first)
    assert [run.load for run in report_of(home).runs] == [3.5, None]


def test_any_two_recipes_but_not_one_with_itself(home: Home) -> None:
    two = suite(home, ("torch-digits", "torch-mnist"), {"epochs": 1})
    assert two.labels == ("torch-digits", "torch-mnist")
    with pytest.raises(UsageError, match="not with itself"):
        suite(home, ("tf-digits", "tf-digits"), {})
    with pytest.raises(ParamError, match="has no parameter 'depth'"):
        suite(home, None, {"depth": "3"})


def test_a_pair_of_users_recipes_is_named_in_what_makes_more(home: Home) -> None:
    report = report_of(home, "torch-mnist", "tf-mnist")
    assert report.command == "traindeck versus run torch-mnist tf-mnist"
