"""`ls` and `compare`: any columns, sorted, grouped, as CSV; never wider than the terminal."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.terminal import on_terminal
from tests.tui.homes import make_run
from traindeck.core.base.home import Home
from traindeck.core.catalogue.store import Catalogue
from traindeck.core.run.points import PointWriter
from traindeck.tui.commands.output import aligned, at_words, cell_width, cut, narrowed

pytestmark = pytest.mark.slow

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def some_runs(home: Home) -> list[str]:
    return [
        make_run(
            home,
            number,
            metric=0.9 + 0.01 * number,
            params={"lr": (0.1, 0.01)[number % 2], "seed": number},
        )
        for number in range(4)
    ]


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(done.stdout)))


class TestColumns:
    def test_any_column_sorted_and_limited(self, traindeck: Command, home: Home) -> None:
        some_runs(home)
        asked = ("--columns", "name,lr,accuracy:best", "--sort", "-accuracy", "--limit", "3")
        lines = [line.split() for line in traindeck("ls", *asked).stdout.splitlines()]
        assert lines == [
            ["name", "lr", "accuracy:best"],
            ["mnist-3", "0.01", "0.93", "@2"],
            ["mnist-2", "0.1", "0.92", "@2"],
            ["mnist-1", "0.01", "0.91", "@2"],
        ]
        assert rows(traindeck("ls", *asked, "--csv"))[0] == {
            "name": "mnist-3",
            "lr": "0.01",
            "accuracy:best": "0.93",
            "accuracy:best step": "2",
        }
        as_json = json.loads(traindeck("ls", *asked, "--json").stdout)
        assert as_json[0] == {"name": "mnist-3", "lr": 0.01, "accuracy:best": 0.93}

    def test_groups_have_mean_and_deviation(self, traindeck: Command, home: Home) -> None:
        some_runs(home)
        groups = json.loads(traindeck("ls", "--group", "all but seed", "--json").stdout)
        assert [group["group"] for group in groups] == [{"params.lr": 0.01}, {"params.lr": 0.1}]
        assert groups[0]["columns"]["test/accuracy"]["mean"] == pytest.approx(0.92)
        assert "0.92 ± 0.014" in traindeck("ls", "--group", "lr").stdout
        assert rows(traindeck("ls", "--group", "lr", "--csv"))[0]["test/accuracy n"] == "2"

    def test_a_group_goes_by_the_parameter_though_a_series_has_its_name(
        self, traindeck: Command, home: Home
    ) -> None:
        bare = make_run(home, 7, params={})
        for run_id in (*some_runs(home), bare):
            writer = PointWriter(home.runs / run_id)
            writer.add(3, {"lr": 0.001})
            writer.close()
            Catalogue(home).sync(home.runs / run_id)
        groups = json.loads(traindeck("ls", "--group", "lr", "--json").stdout)
        assert [(group["group"], len(group["runs"])) for group in groups] == [
            ({"lr": None}, 1),
            ({"lr": 0.01}, 2),
            ({"lr": 0.1}, 2),
        ]

    def test_csv_without_columns_has_all_but_private_series(
        self, traindeck: Command, home: Home
    ) -> None:
        (first, *_) = some_runs(home)
        writer = PointWriter(home.runs / first)
        writer.add(3, {"private/loss": 1.0})
        writer.close()
        Catalogue(home).sync(home.runs / first)
        assert {"id", "lr", "seed", "test/accuracy"} <= rows(traindeck("ls", "--csv"))[0].keys()
        assert "private/loss" not in rows(traindeck("ls", "--csv"))[0]
        assert "private/loss" in rows(traindeck("ls", "--csv", "--private"))[0]

    @pytest.mark.parametrize(
        ("words", "says"),
        [
            (("--columns", "nmae"), "did you mean name"),
            (("--sort", "acuracy"), "did you mean test/accuracy"),
            (("--query", "sed<3"), "did you mean seed"),
            (("--columns", ","), "no column is named"),
        ],
    )
    def test_a_slip_is_told_with_the_nearest_names(
        self, traindeck: Command, home: Home, words: tuple[str, str], says: str
    ) -> None:
        some_runs(home)
        done = traindeck("ls", *words, code=2)
        assert says in done.stderr


class TestCompare:
    def test_tells_results_and_what_differs(self, traindeck: Command, home: Home) -> None:
        one, other, *_ = some_runs(home)
        source = home.runs / one / "source"
        source.mkdir()
        (source / "train.py").write_text("a = 1\n")
        done = traindeck("compare", one, other, "--diff")
        assert "lr" in done.stdout and "0.91 @2" in done.stdout
        assert "-a = 1" in done.stdout
        assert "epochs" not in done.stdout
        as_json: Any = json.loads(traindeck("compare", one, other, "--json").stdout)
        assert as_json["params"] == {"lr": [0.1, 0.01], "seed": [0, 1]}

    def test_what_is_not_yet_recorded_of_a_run_is_no_difference(
        self, traindeck: Command, home: Home
    ) -> None:
        one = make_run(home, 1)
        traindeck("run", "--on", "cpu:0", "--", "sleep", "60")
        waits = traindeck("run", "--on", "cpu:0", "--", "sleep", "60").stdout.strip()
        source = home.runs / one / "source"
        source.mkdir()
        (source / "train.py").write_text("a = 1\n")
        made_of = {"packages": {"tensorflow": "2.21.0"}, "host": "a", "git": {"commit": "abc"}}
        (source / "provenance.json").write_text(json.dumps(made_of))
        done = traindeck("compare", one, waits, "--diff")
        assert "tensorflow" not in done.stdout and "commit" not in done.stdout
        assert "a = 1" not in done.stdout
        assert f"{waits}: code, packages and machine not known yet" in done.stderr
        told: Any = json.loads(traindeck("compare", one, waits, "--json").stdout)
        assert told["packages"] == {} and told["facts"].keys() == {"recipe", "command", "device"}
        assert told["untold"] == ["", "code, packages and machine not known yet"]

    def test_takes_two_to_eight(self, traindeck: Command, home: Home) -> None:
        one, *_ = some_runs(home)
        traindeck("compare", one, code=2)
        traindeck("compare", *[one] * 9, code=2)


class TestWidth:
    def test_no_table_is_wider_than_the_terminal(self, home: Home) -> None:
        run_id = make_run(home, 1, name="größe 日本語の実験" * 4, params={"layers" * 30: "x" * 300})
        writer = PointWriter(home.runs / run_id)
        writer.add(1, {"grad_norm/" + "layer." * 30 + "weight": 0.5})
        writer.close()
        Catalogue(home).sync(home.runs / run_id)
        for columns in (40, 80, 100):
            for words in (("ls",), ("show", run_id), ("metrics", run_id), ("recipes",)):
                lines = on_terminal(columns, *words)
                tables = lines if words[0] != "show" else lines[lines.index("") :]
                wide = [line for line in tables if cell_width(line) > columns]
                assert tables and not wide, (columns, words, wide)
        assert "0.5" in on_terminal(100, "ls")[1]

    def test_into_a_pipe_everything_goes_whole(self, traindeck: Command, home: Home) -> None:
        make_run(home, 1, params={"layers": "x" * 150})
        assert "x" * 150 in traindeck("show", "@last").stdout

    def test_the_widest_columns_give_first(self) -> None:
        assert narrowed([8, 30, 60], 80) == [8, 30, 38]
        assert narrowed([8, 40, 60], 44) == [8, 16, 16]
        assert narrowed([8, 40, 60], 4) == [1, 1, 1]

    def test_what_is_missing_is_missing_in_the_middle(self) -> None:
        assert cut("grad_norm/layer.weight", 13) == "grad_n…weight"
        assert cut("日本語の実験", 7) == "日…験"
        assert cut("abc", 1) == "…"
        assert cut("abc", 3) == "abc"

    def test_prose_breaks_at_words(self) -> None:
        told = at_words("error: " + "some words " * 20 + "--a-long-option=" + "x" * 70, 60)
        assert all(len(line) <= 60 or " " not in line for line in told.split("\n"))
        assert (
            " ".join(told.split())
            == ("error: " + "some words " * 20 + "--a-long-option=") + "x" * 70
        )

    def test_numbers_have_their_points_below_each_other(self) -> None:
        assert aligned(["0.98", "17430", "–", "1.5e-05"]) == [
            "    0.98",
            "17430",
            "–",
            "    1.5e-05",
        ]
        assert aligned(["0.98", "ten"]) == ["0.98", "ten"]
