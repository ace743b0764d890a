"""A real server of a bundle, begun and asked as a comparison does it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.core.versus.compared import a_format, made_bundle
from tests.serving.serving_tools import pictures
from traindeck.core.base.home import Home
from traindeck.core.versus import served
from traindeck.core.versus.evidence import gather
from traindeck.core.versus.pairs import Suite, suite
from traindeck.core.versus.queue import begin, ended, missing
from traindeck.core.versus.report import make
from traindeck.core.versus.served import serves

pytestmark = pytest.mark.slow


def servers(home: Home) -> Suite:
    return replace(suite(home, None, {}, full=True), only=("serve",))


def begun(home: Home) -> str:
    """The first server of PyTorch's side."""
    wanted = servers(home)
    evidence = gather(home, wanted)
    doc = begin(home, missing(evidence, wanted)[0], evidence)
    assert doc is not None
    return doc["id"]


def test_a_bundle_is_served_asked_and_stopped(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "ASKED_SECONDS", 1.5)
    folder = made_bundle(home, "torch-digits", {"onnx": a_format("model.onnx", 0.0, 1, 1.0)})
    pictures(folder)
    run = begun(home)
    assert served.ask(home, run) == ""
    doc = ended(home, run)
    assert doc["state"] == served.MEASURED
    report = make(home, servers(home), devices=lambda: ["a processor"])
    shown = {one.name: one for axis in report.axes for one in axis.indicators}
    for name, least, most in (("latency", 0.0, 1000), ("memory", 10, 2000), ("start-up", 0.1, 600)):
        sample, other = shown[f"served: {name}"].sides
        assert sample is not None and least < sample.median < most and other is None
        assert [source.run for source in sample.sources] == [run]
    assert "PyTorch by onnx" in shown["served: latency"].note
    assert len(missing(gather(home, servers(home)), servers(home))) == 5


def test_a_model_that_does_not_load_is_told_and_its_server_is_no_evidence(home: Home) -> None:
    folder = made_bundle(home, "torch-digits", {"onnx": a_format("model.onnx", 0.0, 1, 1.0)})
    (folder / "model.onnx").write_bytes(b"none")
    run = begun(home)
    assert "model.onnx" in served.ask(home, run)
    assert ended(home, run)["state"] != served.MEASURED
    assert len(missing(gather(home, servers(home)), servers(home))) == 6


def test_a_server_is_known_by_its_bundle_wherever_the_home_is_now() -> None:
    bundle = Path("/there/models/torch-digits/1")
    assert serves("torch-digits=/here/models/torch-digits/1", bundle)
    assert serves("'a=/with space/models/torch-digits/1'", bundle)
    assert not serves("torch-digits=/here/models/torch-digits/2", bundle)
    assert not serves("torch-digits=/here/models/torch-digits", bundle)
    assert not serves("a=/models/torch-digits/1 b=/models/torch-digits/1", bundle)
    assert not serves(None, bundle)
    assert not serves("'a=/models/torch-digits/1", bundle)
