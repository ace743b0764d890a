"""DP-SGD over several replicas in TensorFlow, whose epsilon is that of one device, as `torch_dp`'s.

One process alone samples, pays, adds noise, divides and takes the optimiser's step: with the
strategy mirrored it is the only one, and its devices clip parts of its batch; with multiworker it
is rank 0, and the others work for it. They get the weights, the clipping norm and their part of a
batch that is paid for, and give back the sum of the part's clipped gradients. So

    the Poisson sample is one, of all records; each record of it is in one part, and clipped there
    the noise is drawn once, for the sum of all parts, which is divided by the public batch size
    a ledger that refuses a step is heard before anybody has computed for it
    a replica that got no record joins in with zeros, and without a rank that is lost no sum comes
    out: the collective operation fails at the others, and the step stays paid for

No optimiser of Keras and no `Model.fit` has a part in it: under a strategy they average over
replicas, or fail. The parts are summed here. Between ranks everything is a sum, also what rank 0
tells them, to which the others add zeros.
"""

from __future__ import annotations

import atexit
import contextlib
from typing import Any

import tensorflow as tf

from traindeck.recipes.shared.training.dp.tf import MICRO_BATCH, Clipped, ClippedGradients
from traindeck.recipes.shared.training.parallel.ranks import METERED, Meter, by_rank
from traindeck.recipes.shared.training.parallel.tf import Replicas

_THROUGH = -1  # instead of a batch's size
_DTYPES = (tf.float32, tf.float64, tf.int64, tf.int32, tf.uint8, tf.bool)
_WORDS = 10  # that describe a tensor: its type, its number of dimensions, and them
_MULTIPLE = 32  # of examples in a part: each size is a collective operation of its own


def clipped_gradients(
    replicas: Replicas, model: Any, clipping_norm: float, micro_batch: int = MICRO_BATCH
) -> ClippedGradients:
    """`ClippedGradients` of the model over all replicas, at rank 0.

    Any other rank works for it until it is through; then its process ends.
    """
    if replicas.count > 1:
        shared = SharedGradients(model, clipping_norm, replicas, micro_batch)
        if replicas.number:
            shared.work()
            raise SystemExit(0)
        atexit.register(shared.end)
        return shared
    if replicas.replicas > 1:
        return MirroredGradients(model, clipping_norm, replicas, micro_batch)
    return ClippedGradients(model, clipping_norm, micro_batch=micro_batch)


class MirroredGradients(ClippedGradients):
    """Sums of clipped per-example gradients, for which all devices compute a part each."""

    def __init__(
        self, model: Any, clipping_norm: float, replicas: Replicas, micro_batch: int
    ) -> None:
        super().__init__(model, clipping_norm, micro_batch=micro_batch * replicas.replicas)
        self._strategy, self._count = replicas.strategy, replicas.replicas
        self._part = tf.function(self._parts, jit_compile=False, reduce_retracing=True)

    def _parts(self, x: Any, y: Any, count: Any) -> tuple[list[Any], Any, Any]:
        most = -(-count // self._count)

        def part() -> tuple[list[Any], Any, Any]:
            at = most * tf.distribute.get_replica_context().replica_id_in_sync_group
            own = tf.clip_by_value(count - at, 0, most)
            first = tf.minimum(at, count - 1)  # kernels want an example: it has weight 0 then
            some = slice(first, first + tf.maximum(own, 1))
            return self._clipped(x[some], y[some], own)

        sums, norms, losses = self._strategy.run(part)
        totals = [self._strategy.reduce(tf.distribute.ReduceOp.SUM, s, axis=None) for s in sums]
        local = self._strategy.experimental_local_results
        return totals, tf.concat(local(norms), 0), tf.concat(local(losses), 0)


class Together(Clipped):
    """What a batch gives that ranks have divided.

    used  (ranks, 2): per cent of a core and bytes of memory of each since the last batch
    """

    used: Any

    def telemetry(self, clipping_norm: float) -> dict[str, float]:
        return super().telemetry(clipping_norm) | by_rank(METERED, self.used.numpy().tolist())


class SharedGradients(ClippedGradients):
    """Sums of clipped per-example gradients, for which all ranks compute a part each."""

    def __init__(
        self, model: Any, clipping_norm: float, replicas: Replicas, micro_batch: int
    ) -> None:
        super().__init__(model, clipping_norm, micro_batch=micro_batch)
        self._replicas, self._number, self._count = replicas, replicas.number, replicas.count
        self._meter = Meter()
        self._message([])  # traced here: as the process ends, which `end` may find, it cannot be

    def clip_to(self, clipping_norm: float) -> None:
        self._norm = clipping_norm
        super().clip_to(clipping_norm)

    def __call__(self, x: Any, y: Any) -> Clipped:
        """At rank 0: as without other ranks, in the order of the examples."""
        self._message([len(x), self._norm, *_described(x), *_described(y)])
        sizes = self._sizes(len(x))
        own_x, own_y = self._dealt(x, sizes), self._dealt(y, sizes)
        sums, rows, faulty = self._together(own_x, own_y, _room(sizes))
        parts = [row[:, :size] for row, size in zip(tf.unstack(rows), sizes, strict=True)]
        norms, losses = tf.unstack(tf.concat(parts, 1))
        result = Together(sums, norms, losses, faulty)
        result.used = rows[:, :, -1]
        return result

    def work(self) -> None:
        """At any other rank: compute parts for rank 0 until it is through."""
        while (told := self._message([]))[0] != _THROUGH:
            sizes = self._sizes(int(told[0]))
            self.clip_to(told[1])
            described = told[2 : 2 + _WORDS], told[2 + _WORDS :]
            x, y = (self._dealt(_nothing(each), sizes) for each in described)
            self._together(x, y, _room(sizes))

    def end(self) -> None:
        """At rank 0: there is nothing more to compute."""
        with contextlib.suppress(tf.errors.OpError, RuntimeError):  # the others have ended
            self._message([_THROUGH])

    def _sizes(self, size: int) -> list[int]:
        """How many examples of a batch each rank gets; of some batches some get none."""
        return [(size + number) // self._count for number in reversed(range(self._count))]

    def _together(self, x: Any, y: Any, room: int) -> tuple[list[Any], Any, int]:
        """What all parts come to, of which x and y are this rank's.

        Returns sums, how many are faulty, and between them (ranks, 2, room + 1): norms and losses
        of each part, filled up, and at the end what the rank uses.
        """
        self._weights_of_rank_0()
        # By its class: it must not ask the other ranks again.
        result = ClippedGradients.__call__(self, x, y)
        row = tf.pad(tf.stack([result.norms, result.losses]), [[0, 0], [0, room - len(x)]])
        used = tf.constant([[value] for value in self._meter.read().values()], tf.float32)
        mine = tf.concat([row, used], 1)
        rows = [mine if n == self._number else tf.zeros_like(mine) for n in range(self._count)]
        parts = [*result.sums, tf.constant(float(result.faulty)), tf.stack(rows)]
        *sums, faulty, all_rows = _like(self._replicas.total(_flat(parts)), parts)
        return sums, all_rows, int(faulty)

    def _weights_of_rank_0(self) -> None:
        weights = self.model.weights
        flat = _flat(weights)
        told = self._replicas.total(tf.zeros_like(flat) if self._number else flat)
        if self._number:
            for variable, value in zip(weights, _like(told, weights), strict=True):
                variable.assign(value)

    def _dealt(self, whole: Any, sizes: list[int]) -> Any:
        """This rank's part of a tensor, of which rank 0 has the examples, and the others none."""
        room = _room(sizes)
        kind = whole.dtype if whole.dtype.is_floating else tf.int64
        if not room:
            return whole
        if self._number:
            filled = tf.zeros((self._count, room, *whole.shape[1:]), kind)
        else:
            rest = [[0, 0]] * (len(whole.shape) - 1)
            parts = tf.split(tf.cast(whole, kind), sizes)
            filled = tf.stack([tf.pad(part, [[0, room - len(part)], *rest]) for part in parts])
        told = self._replicas.total(filled)
        return tf.cast(told[self._number, : sizes[self._number]], whole.dtype)

    def _message(self, words: list[float]) -> list[float]:
        """Rank 0's words, at all ranks; the others' are none."""
        filled = words + [0.0] * (2 + 2 * _WORDS - len(words))
        told: list[float] = self._replicas.total(tf.constant(filled, tf.float64)).numpy().tolist()
        return told


def _room(sizes: list[int]) -> int:
    """What each part is filled up to while it travels."""
    return -(-max(sizes) // _MULTIPLE) * _MULTIPLE


def _described(tensor: Any) -> list[float]:
    shape = tensor.shape[1:]
    words = [_DTYPES.index(tensor.dtype), len(shape), *shape]
    return words + [0.0] * (_WORDS - len(words))


def _nothing(described: list[float]) -> Any:
    """No example, of a tensor that was described so."""
    kind, dimensions, *sizes = map(int, described)
    return tf.zeros((0, *sizes[:dimensions]), _DTYPES[kind])


def _flat(tensors: list[Any]) -> Any:
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def _like(flat: Any, tensors: list[Any]) -> list[Any]:
    """What `_flat` has made one, in the shapes of these."""
    sizes = [tensor.shape.num_elements() for tensor in map(tf.convert_to_tensor, tensors)]
    parts = tf.split(flat, sizes)
    return [tf.reshape(part, each.shape) for part, each in zip(parts, tensors, strict=True)]
