"""Pictures, histograms and texts of torch and TensorFlow become those of their run."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import wait_for_state
from traindeck.core.base.home import Home
from traindeck.core.launch import LaunchRequest, launch
from traindeck.core.run import media
from traindeck.core.run.folder import RunFolder
from traindeck.tui.readers.images import read_image

pytestmark = pytest.mark.framework

VALUES = "np.concatenate([np.zeros(30), np.ones(70)])"
PICTURE = "np.arange(24, dtype=np.uint8).reshape(2, 4, 3)"
TORCH = f"""
import numpy as np
from torch.utils.tensorboard import SummaryWriter
with SummaryWriter("runs/one") as writer:
    for step in (1, 2):
        writer.add_image("picture", {PICTURE}, step, dataformats="HWC")
        writer.add_histogram("values", {VALUES}, step)
        writer.add_text("words", "hello", step)
"""
TENSORFLOW = f"""
import numpy as np, tensorflow as tf
with tf.summary.create_file_writer("logs").as_default():
    for step in (1, 2):
        tf.summary.image("picture", {PICTURE}[None], step)
        tf.summary.histogram("values", {VALUES}, step)
        tf.summary.text("words", "hello", step)
"""


@pytest.mark.parametrize("script", [TORCH, TENSORFLOW], ids=["torch", "tensorflow"])
def test_what_a_framework_shows_is_kept(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    work = tmp_path / "work"
    work.mkdir()
    command = [sys.executable, "-c", script]
    run = RunFolder(Path(launch(home, LaunchRequest(command=command, cwd=str(work)))["path"]))
    assert wait_for_state(run)["state"] == "finished", (run.path / "output.log").read_text()
    lines = (run.path / media.LOG).read_bytes().splitlines()
    shown = [one for line in lines if (one := media.parse(line))]
    found = {(one.kind, one.name.partition("/")[0], one.step): one for one in shown}
    kinds = (("image", "picture"), ("histogram", "values"), ("text", "words"))
    assert found.keys() == {(*kind, step) for kind in kinds for step in (1, 2)}
    picture = read_image(run.path / found["image", "picture", 2].content["path"]).rgb
    assert np.array_equal(picture, np.arange(24).reshape(2, 4, 3))
    counts, edges = (found["histogram", "values", 1].content[key] for key in ("counts", "edges"))
    assert sum(counts) == 100
    middle = np.interp(0.5, edges, np.concatenate([[0], np.cumsum(counts)]))
    assert middle == pytest.approx(30)
    assert found["text", "words", 1].content["text"] == "hello"
