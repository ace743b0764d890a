"""Strategies of TensorFlow under a training loop of one's own: `Model.fit` fails under most."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

import tensorflow as tf

from traindeck.core import track
from traindeck.core.base.errors import USAGE
from traindeck.core.base.format import on_one_line
from traindeck.recipes.shared.training import needs
from traindeck.recipes.shared.training.parallel.ranks import LOST, Ranks, check_divides, timeout

Step = Callable[[Any, Any], tuple[Any, Any]]
_LOST = (tf.errors.UnavailableError, tf.errors.DeadlineExceededError, tf.errors.AbortedError)


class Replicas(Ranks):
    """The model's replicas: `workers` in this process (mirrored), or one in each of its ranks.

    kind  none, mirrored, multiworker, tpu

    To be made before TensorFlow has used a device; the model and its optimiser are then made, and
    built, within `scope`.
    """

    def __init__(self, run: track.Run, kind: str, workers: int) -> None:
        if run.rank is not None:
            self.number, self.count = run.rank.number, run.rank.count
            sys.excepthook = _ended
        if kind != "tpu":
            needs.tensorflow_device(run.device)
        self._kind = kind
        self.strategy = _strategy(run.device, kind, workers)
        self.replicas = int(self.strategy.num_replicas_in_sync)
        self._sums: dict[Any, Callable[[Any], Any]] = {}

    def scope(self) -> AbstractContextManager[Any]:
        scope: AbstractContextManager[Any] = self.strategy.scope()
        return scope

    def share(self, loss: Any) -> Any:
        """What a replica's mean loss adds to that of the batch: gradients are summed."""
        return loss / self.replicas

    def over(self, step: Step, mode: str) -> Step:
        """The step of one replica, made that of all, in the mode eager, graph or xla.

        A rank gives its part of the batch; mean loss and accuracy come out, of all replicas.
        """
        if self._kind == "none":
            return step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")
        if mode == "xla":
            track.abort(f"mode xla cannot be had with strategy {self._kind}: take graph", USAGE)
        here = self.replicas // self.count
        mean = tf.distribute.ReduceOp.MEAN

        def part(x: Any, y: Any) -> tuple[Any, Any]:
            size = x.shape[0] // here
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group % here
            own = slice(replica * size, (replica + 1) * size)
            return step(x[own], y[own])

        def all_parts(x: Any, y: Any) -> tuple[Any, Any]:
            check_divides(x.shape[0], here)
            loss, accuracy = self.strategy.run(part, args=(x, y))
            reduce = self.strategy.reduce
            return reduce(mean, loss, axis=None), reduce(mean, accuracy, axis=None)

        return all_parts if mode == "eager" else tf.function(all_parts)

    def plain(self, model: Any) -> Any:
        """The model as it is without a strategy, to be saved: of the same weights, not compiled."""
        if self._kind == "none":
            return model
        copy = tf.keras.models.clone_model(model)
        copy.set_weights(model.get_weights())
        return copy

    def agree(self, decision: bool) -> bool:
        return self.gather([float(decision)])[0][0] > 0

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        if self.count == 1:
            return super().gather(values)
        own = [[0.0] * len(values)] * self.count
        own[self.number] = list(values)
        rows: list[list[float]] = self.total(tf.constant(own, tf.float64)).numpy().tolist()
        return rows

    def total(self, own: Any) -> Any:
        """The sum over ranks of a tensor that each has in the same shape, at all of them.

        Each shape is a collective operation of its own: let there be few.
        """
        kind = tf.TensorSpec(own.shape, own.dtype)
        if kind not in self._sums:
            self._sums[kind] = tf.function(self._sum).get_concrete_function(kind)
        return self._sums[kind](own)

    def _sum(self, own: Any) -> Any:
        parts = self.strategy.run(lambda each: each + 0, args=(own,))
        return self.strategy.reduce(tf.distribute.ReduceOp.SUM, parts, axis=None)


def _strategy(device: str, kind: str, workers: int) -> Any:
    if kind == "tpu":
        return _tpu()
    if kind == "mirrored":
        return tf.distribute.MirroredStrategy(_devices(device, workers))
    if kind == "multiworker":
        options = tf.distribute.experimental.CommunicationOptions(
            implementation=tf.distribute.experimental.CommunicationImplementation.AUTO,
            timeout_seconds=timeout(),
        )
        return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)
    return tf.distribute.get_strategy()


def _devices(device: str, workers: int) -> list[str]:
    """So many GPUs, or parts of the CPU."""
    gpus = tf.config.list_physical_devices("GPU")
    if device == "gpu":
        if len(gpus) < workers:
            track.abort(f"{workers} workers need a GPU each, and the run has {len(gpus)}")
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    else:
        cpu = tf.config.list_physical_devices("CPU")[0]
        parts = [tf.config.LogicalDeviceConfiguration() for _ in range(workers)]
        tf.config.set_logical_device_configuration(cpu, parts)
    return [f"{device.upper()}:{number}" for number in range(workers)]


def _tpu() -> Any:
    """The resolver answers on any machine: whether there is a TPU is seen by its devices."""
    there = [*Path("/dev").glob("accel*"), *Path("/dev/vfio").glob("[0-9]*")]
    if not there or find_spec("libtpu") is None:
        track.abort("no TPU for TensorFlow: it needs /dev/accel* or /dev/vfio/N, and libtpu")
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="local")
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    return tf.distribute.TPUStrategy(resolver)


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    lost = isinstance(error, _LOST)
    if lost:
        why = on_one_line(str(error).rpartition("\n\n")[2])  # behind where the graph was made
        print(f"lost another rank: {why}", file=sys.stderr, flush=True)
    else:
        traceback.print_exception(kind, error, trace)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(LOST if lost else 1)  # without waiting for threads of what has failed
