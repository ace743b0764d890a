"""What torch and TensorFlow write is read as TensorBoard's own loader reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.core.exchange.tensorboard.event_files import (
    read_all,
)
from traindeck.core.exchange.tensorboard.events import EventFile, EventTree, Point
from traindeck.core.exchange.tensorboard.origin import writer_pid

TORCH = """
import sys, time
from pathlib import Path
import numpy as np
from torch.utils.tensorboard import SummaryWriter

with SummaryWriter(sys.argv[1] + "/runs/one", flush_secs=1) as writer:
    writer.add_text("text", "hello")
    writer.add_image("image", np.zeros((3, 200, 200), np.uint8))
    for step in range(400):
        writer.add_scalar("train/loss", 1 / (step + 1), step)
        writer.add_scalar("new", step * 0.1, step, new_style=True)
        writer.add_scalar("double", 0.1, step, new_style=True, double_precision=True)
        writer.add_scalar("odd", [float("nan"), float("inf"), -0.0][step % 3], step)
        writer.add_scalars("both", {"a": step, "b": -step}, step)
        if step % 50 == 0:
            writer.add_histogram("weights", np.arange(1000.0), step)
            writer.flush()
            time.sleep(0.3)
"""

TENSORFLOW = """
import sys
import numpy as np
import tensorflow as tf

folder = sys.argv[1]
with tf.summary.create_file_writer(folder + "/first").as_default():
    for step in range(200):
        tf.summary.scalar("loss", 1 / (step + 1), step=step)
        tf.summary.scalar("half", tf.constant(0.5, tf.float16), step=step)
        tf.summary.histogram("weights", np.arange(100.0), step=step)
        tf.summary.text("text", "hello", step=step)
        if step % 20 == 0:
            tf.summary.image("image", np.zeros((1, 50, 50, 3), np.uint8), step=step)
            tf.summary.flush()

with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    writer = tf.compat.v1.summary.FileWriter(folder + "/old", session.graph)
    value = tf.compat.v1.placeholder(tf.float32, [])
    tf.compat.v1.summary.scalar("loss", value)
    tf.compat.v1.summary.scalar("twice", 2 * value)
    tf.compat.v1.summary.histogram("weights", tf.fill([10], value))
    merged = tf.compat.v1.summary.merge_all()
    for step in range(20):
        writer.add_summary(session.run(merged, {value: step / 3}), step)
    writer.close()

model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
model.compile("sgd", "mse", metrics=["mae"])
x, y = np.zeros((20, 3)), np.ones((20, 1))
board = tf.keras.callbacks.TensorBoard(folder + "/keras", histogram_freq=1, update_freq=1)
model.fit(x, y, epochs=3, batch_size=5, validation_data=(x, y), callbacks=[board], verbose=0)
"""

# TensorBoard's own idea of what is in each file: {path: [[wall time, step, tag, value], …]}.
LOADER = """
import json, sys
from pathlib import Path
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

points_of = {}
for path in sorted(Path(sys.argv[1]).rglob("*tfevents*")):
    points = points_of[str(path)] = []
    plugins = {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            plugin = plugins.setdefault(value.tag, value.metadata.plugin_data.plugin_name)
            if plugin == "scalars":
                number = tensor_util.make_ndarray(value.tensor).item()
                points.append([event.wall_time, event.step, value.tag, number])
print(json.dumps(points_of))
"""


def python(script: str, folder: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-W", "ignore", "-c", script, str(folder)]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.framework
@pytest.mark.parametrize(
    ("script", "series"),
    [
        (TORCH, {"train/loss", "new", "double", "odd", "both_a/both", "both_b/both"}),
        (
            TENSORFLOW,
            {"loss", "half", "old/loss", "old/twice"}
            | {"keras/train/epoch_loss", "keras/validation/epoch_mae"},
        ),
    ],
    ids=["torch", "tensorflow"],
)
def test_live_reading_finds_what_tensorboard_finds(
    tmp_path: Path, script: str, series: set[str]
) -> None:
    began = time.time()
    tree = EventTree(tmp_path, since=began)
    live: list[Point] = []
    reads_with_points = 0
    writer = python(script, tmp_path)
    while writer.poll() is None:
        points = tree.read()
        live += points
        reads_with_points += bool(points)
        time.sleep(0.01)
    assert writer.returncode == 0, writer.communicate()[1]
    writer.communicate()
    tree.look()
    live += read_all(tree)
    assert reads_with_points > 2
    assert not tree.problems

    loader = python(LOADER, tmp_path)
    output, errors = loader.communicate()
    assert loader.returncode == 0, errors
    theirs = {Path(path): points for path, points in json.loads(output).items()}
    assert theirs
    for path, points in theirs.items():
        assert writer_pid(path) in (writer.pid, None)  # TensorFlow 1 does not tell
        assert repr([list(point) for point in read_all(EventFile(path))]) == repr(points)
    assert len(live) == sum(map(len, theirs.values())) > 400
    by_step = sorted((time, step, repr(value)) for time, step, _, value in live)
    assert by_step == sorted(
        (time, step, repr(value)) for points in theirs.values() for time, step, _, value in points
    )
    assert series <= {name for *_, name, _ in live}
