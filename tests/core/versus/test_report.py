"""The report as JSON, Markdown and one page that needs nothing else."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from tests.core.versus.compared import DEVICES, made_mistakes, made_steps, made_twins, ran
from traindeck.core.base.home import Home
from traindeck.core.versus.page import html
from traindeck.core.versus.pairs import suite
from traindeck.core.versus.report import Report, make
from traindeck.core.versus.text import markdown

VOID = {"meta", "br", "line", "circle", "polyline", "path", "rect"}


class Page(HTMLParser):
    """What of a page is checked: that tags nest, ids and links, and nothing from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        given = dict(attrs)
        assert not given.keys() & {"src", "onload", "onclick", "srcset"}
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if given.get("href"):
            self.links.append(str(given["href"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def report(home: Home) -> Report:
    made_twins(home)
    made_steps(home)
    made_mistakes(home)
    return make(home, suite(home, None, {}), devices=lambda: DEVICES)


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(report: Report) -> None:
    text = html(report)
    page = Page(text)
    assert "script" not in page.tags and "link" not in page.tags and "img" not in page.tags
    assert not re.search(r"https?://|url\(|@import", text)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert page.tags.count("svg") > 10
    assert "not measured: no private twin runs" in page.text
    for axis in report.axes:
        assert axis.verdict(report.labels) in page.text


def test_every_run_behind_a_number_is_linked_and_listed(report: Report) -> None:
    page = Page(html(report))
    for run in report.runs:
        assert f"run-{run.id}" in page.ids
        assert f"#run-{run.id}" in page.links
        assert run.command in page.text


def test_the_twins_curves_lie_over_each_other(report: Report) -> None:
    assert report.series() == ["test/accuracy", "train/loss"]
    text = html(report)
    figures = re.findall(r"<figure>.*?</figure>", text)
    assert len(figures) == 2
    assert figures[0].count("<polyline") == 6


def test_what_recipes_say_does_nothing_to_the_page(home: Home) -> None:
    params = {"epochs": 30, "batch_size": 32, "lr": 0.1, "resume": None, "seed": 0}
    for number, recipe in enumerate(("torch-digits", "tf-digits")):
        series = {"<script>alert(1)</script> loss": [1.0, float("nan"), 0.5]}
        ran(home, number + 1, recipe, "twin", params, series)
    report = make(home, suite(home, None, {}), devices=lambda: ["<b>"])
    page = Page(html(report))
    assert "script" not in page.tags and "b" not in page.tags
    assert "<script>alert(1)</script> loss" in page.text


def test_private_series_stay_out_of_the_report(home: Home) -> None:
    params = {"epochs": 30, "batch_size": 32, "lr": 0.1, "resume": None, "seed": 0}
    for number, recipe in enumerate(("torch-digits", "tf-digits")):
        series = {"private/train/loss": [1.0], "test/accuracy": [0.5]}
        ran(home, number + 1, recipe, "twin", params, series)
    report = make(home, suite(home, None, {}), devices=lambda: DEVICES)
    assert report.series() == ["test/accuracy"]
    assert "private/train" not in json.dumps(report.to_json())


def test_markdown_has_a_table_an_axis(report: Report) -> None:
    text = markdown(report)
    assert text.count("| indicator | PyTorch | TensorFlow | from |") == 6
    assert "| first metric [s] (from the start of the process, imports and all) | **3.1" in text
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(re.fullmatch(r"\|.*\|", line) for line in rows)
    assert report.runs[0].id in text


def test_json_says_all(report: Report) -> None:
    said = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert len(said["axes"]) == 6
    [first] = [one for one in said["axes"][0]["indicators"] if one["name"] == "first metric"]
    assert first["winner"] == 0
    assert [source["seed"] for source in first["sides"][0]["sources"]] == [0, 1, 2]
    assert said["machine"]["load now"]
    assert {run["load"] for run in said["runs"]} == {None, 0.5}
