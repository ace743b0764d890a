"""Logs as frameworks write them: the right series, and next to nothing else.

Each `corpus/NAME.log` has a NAME.json: {"series": {name: [points, first step, last step, last
value]}, "progress": [done, total] or null}. Those of tqdm, rich, Keras, scikit-learn, XGBoost,
LightGBM and CatBoost are what the framework wrote; the others have the shape of what it writes.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from traindeck.core.exchange.printed import Metric, StdoutMetrics

CORPUS = Path(__file__).parent / "corpus"
LOGS = sorted(path.stem for path in CORPUS.glob("*.log"))


def read(name: str, size: int = 1 << 20) -> tuple[list[Metric], tuple[int, int] | None]:
    reader = StdoutMetrics()
    data = (CORPUS / f"{name}.log").read_bytes()
    metrics: list[Metric] = []
    for at in range(0, len(data), size):
        metrics += reader.feed(data[at : at + size])
    return metrics + reader.finish(), reader.progress


def summed_up(metrics: list[Metric]) -> dict[str, list[Any]]:
    series: dict[str, list[Any]] = {}
    for step, name, value in metrics:
        shown = value if math.isfinite(value) else str(value)
        first = series.get(name, [0, step])
        series[name] = [first[0] + 1, first[1], step, shown]
    return series


@pytest.mark.parametrize("name", LOGS)
def test_a_log_gives_its_series_and_its_progress(name: str) -> None:
    expected = json.loads((CORPUS / f"{name}.json").read_bytes())
    metrics, progress = read(name)
    assert summed_up(metrics) == expected["series"]
    assert (list(progress) if progress else None) == expected["progress"]


@pytest.mark.parametrize("name", LOGS)
def test_how_a_log_arrives_does_not_matter(name: str) -> None:
    assert repr(read(name, 61)) == repr(read(name))


def test_no_more_than_one_point_in_a_hundred_is_false() -> None:
    false = total = 0
    for name in LOGS:
        expected = json.loads((CORPUS / f"{name}.json").read_bytes())["series"]
        metrics, _ = read(name)
        total += len(metrics)
        false += sum(found not in expected for _, found, _ in metrics)
    assert len(LOGS) >= 120
    assert false <= total / 100
