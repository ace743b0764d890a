"""Pictures, histograms and texts of event files, whichever way they were written."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto

from tests.core.exchange.tensorboard.event_files import NAME, event, put, simple
from traindeck.core.exchange.tensorboard.events import EventTree
from traindeck.core.exchange.tensorboard.scalars import Rest
from traindeck.core.exchange.tensorboard.summaries import MOST_BINS, Histogram, Summaries
from traindeck.core.run import media
from traindeck.core.run.showing import png
from traindeck.core.supervisor.viewing import Viewing

PNG = png(np.full((3, 4, 1), 7, np.uint8))


def of_plugin(tag: str, plugin: str, tensor: TensorProto) -> Summary.Value:
    said = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))
    return Summary.Value(tag=tag, tensor=tensor, metadata=said if plugin else None)


def strings(*texts: bytes) -> TensorProto:
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=len(texts))])
    return TensorProto(dtype=7, tensor_shape=shape, string_val=texts)


def triples(rows: Sequence[tuple[float, float, float]], *, packed: bool) -> TensorProto:
    flat = [number for row in rows for number in row]
    if packed:
        return TensorProto(dtype=1, tensor_content=struct.pack(f"<{len(flat)}f", *flat))
    return TensorProto(dtype=2, double_val=flat)


def read(*values: Summary.Value) -> list[tuple[str, Any]]:
    summaries = Summaries()
    return [found for value in values for found in summaries.read(value.SerializeToString())]


def test_pictures_of_both_kinds() -> None:
    old = Summary.Value(tag="a", image=Summary.Image(height=3, width=4, encoded_image_string=PNG))
    new = of_plugin("b", "images", strings(b"4", b"3", PNG, b"second"))
    assert read(old, new) == [("a", PNG), ("b", PNG), ("b/1", b"second")]


def test_texts_and_plugins_that_are_named_once() -> None:
    first, second = (
        of_plugin("t", "text", strings(b"one")),
        of_plugin("t", "", strings(b"two", b"\xff")),
    )
    assert read(first, second) == [("t", "one"), ("t", "two\n�")]
    assert read(second, of_plugin("g", "graph", strings(b"no")), simple("loss", 1.0)) == []


def test_a_histogram_of_tensorflow_1_and_torch() -> None:
    proto = HistogramProto(
        min=-1, max=5, num=6, bucket_limit=[-2, 0, 3, 3.5, 1.7e308], bucket=[0, 2, 3, 0, 1]
    )
    [(name, found)] = read(Summary.Value(tag="w", histo=proto))
    assert (name, found) == ("w", Histogram([-1, 0, 3, 3.5, 5], [2, 3, 0, 1]))


@pytest.mark.parametrize("packed", [True, False])
def test_a_histogram_of_tensorflow_2(packed: bool) -> None:
    rows = [(0.0, 1.0, 2.0), (1.0, 2.0, 0.0), (2.0, 3.0, 4.0), (3.0, 3.0, 0.0)]
    [(_, found)] = read(of_plugin("w", "histograms", triples(rows, packed=packed)))
    assert found == Histogram([0, 1, 2, 3], [2, 0, 4])


def test_values_that_are_all_alike_have_a_width() -> None:
    [(_, found)] = read(of_plugin("w", "histograms", triples([(2.0, 2.0, 9.0)], packed=True)))
    assert found.edges[0] < 2 < found.edges[1] and found.counts == [9]


def test_many_bins_become_fewer() -> None:
    rows = [(float(n), float(n + 1), 1.0) for n in range(1501)]
    [(_, found)] = read(of_plugin("w", "histograms", triples(rows, packed=True)))
    assert len(found.counts) <= MOST_BINS and sum(found.counts) == 1501
    assert len(found.edges) == len(found.counts) + 1


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_what_is_not_whole_is_nothing(cut: int) -> None:
    whole = of_plugin("w", "histograms", triples([(0, 1, 2)], packed=False)).SerializeToString()
    assert list(Summaries().read(whole[:cut])) == []
    nan = float("nan")
    assert (
        read(of_plugin("w", "histograms", triples([(nan, 1, 2), (0, 1, nan)], packed=True))) == []
    )


def test_they_are_kept_as_the_runs_own(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    values = [
        Summary.Value(tag="digits", image=Summary.Image(encoded_image_string=PNG)),
        of_plugin("words", "text", strings(b"hello")),
        of_plugin("w", "histograms", triples([(0, 1, 2)], packed=True)),
        simple("loss", 1.0),
    ]
    put(tmp_path / "logs" / NAME, event(3, *values), event(4, *values))
    rest: list[Rest] = []
    tree = EventTree(tmp_path, rest=rest)
    assert [(step, name) for _, step, name, _ in tree.read()] == [(3, "loss"), (4, "loss")]

    def kept() -> list[tuple[str, str, int]]:
        lines = (folder / "media.jsonl").read_bytes().splitlines()
        found = [media.parse(line) for line in lines]
        return [(one.kind, one.name, one.step) for one in found if one]

    Viewing(folder, False).take(rest)
    names = [("image", "digits"), ("text", "words"), ("histogram", "w")]
    assert kept() == [(*name, step) for step in (3, 4) for name in names]
    [first, _] = sorted((folder / "media").iterdir())
    assert first.read_bytes() == PNG
    Viewing(folder, False).take(rest)  # another supervisor reads all anew
    assert len(kept()) == 6
    Viewing(folder, True).take(rest)
    assert kept()[6:7] == [("image", "private/digits", 3)]


def test_what_cannot_be_kept_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "MOST_IMAGES", 1)
    value = Summary.Value(tag="a", image=Summary.Image(encoded_image_string=PNG))
    viewing = Viewing(tmp_path, False)
    viewing.take([Rest(0.0, step, "", value.SerializeToString()) for step in range(3)])
    assert "1 are kept already" in viewing.problem
    assert len((tmp_path / "media.jsonl").read_text().splitlines()) == 1
