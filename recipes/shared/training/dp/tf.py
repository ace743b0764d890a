"""DP-SGD in TensorFlow: sums of clipped per-example gradients by one forward and one backward pass.

The backward pass is that of the activations alone; `tf_shares` makes of what it leaves at each
layer the clipped gradients' sum, and nothing of the forward pass is done twice: Z. Bu, Y.-X. Wang,
S. Zha, G. Karypis: Differentially private optimization on large model at small cost, ICML 2023,
call that book-keeping. DP-SGD itself is M. Abadi et al.: Deep learning with differential privacy,
CCS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from traindeck.recipes.shared.training.dp import checks
from traindeck.recipes.shared.training.dp.randomness import Randomness
from traindeck.recipes.shared.training.dp.selftest import SelfTest
from traindeck.recipes.shared.training.dp.tf_layers import UnsupportedLayer, weighted
from traindeck.recipes.shared.training.dp.tf_shares import apply, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOTHING = -1  # instead of a label
MICRO_BATCH = 128  # examples: a CPU's cache still holds their gradients
_MULTIPLE = 32  # of examples: kernels are made anew for each size of a batch, so let those be few
_ROUNDING = 2e-6  # what float32 may leave of a norm unseen, relative to it


class Clipped(NamedTuple):
    """What a batch of n examples gives.

    sums    clipped gradients summed, for each trainable variable of the model in order
    norms   (n,), each example's gradient norm before clipping; private, as the losses are
    losses  (n,)
    faulty  how many examples had no finite gradient: they add nothing
    """

    sums: list[Any]
    norms: Any
    losses: Any
    faulty: int

    def telemetry(self, clipping_norm: float) -> dict[str, float]:
        """What helps to see how the training goes. No epsilon covers it: it stays with the run."""
        size, faulty = float(len(self.norms)), float(self.faulty)
        series = {"private/batch_size": size, "private/faulty": faulty}
        if len(self.norms):
            series["private/loss"] = float(np.mean(self.losses))
            series["private/gradient_norm_median"] = float(np.median(self.norms))
            series["private/clip_fraction"] = float(np.mean(np.greater(self.norms, clipping_norm)))
        return series


def cross_entropy(y: Any, logits: Any) -> Any:
    """Labels (n,) and logits (n, classes) to losses (n,).

    Of labels (n, positions) and logits (n, positions, classes) it is an example's mean over its
    positions; those labelled NOTHING are left out.
    """
    if len(y.shape) == 1:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits)
    some = tf.cast(y != NOTHING, tf.float32)
    each = tf.nn.sparse_softmax_cross_entropy_with_logits(tf.maximum(y, 0), logits)
    return tf.reduce_sum(each * some, 1) / tf.maximum(tf.reduce_sum(some, 1), 1)


class ClippedGradients:
    """Sums of a model's per-example gradients, each clipped to the norm `clipping_norm`.

    The model is Sequential or functional, from one Input to one output, of Dense, Conv2D with
    groups=1, DepthwiseConv2D, Embedding, LayerNormalization, RMSNormalization,
    MultiHeadAttention, layers without weights and sums; UnsupportedLayer is raised for any other.

    `loss` maps y and the model's outputs to one loss an example. Batches are worked through in
    parts of `micro_batch`, which bounds the memory (so many gradients of the convolutions) and
    changes nothing else.

    What a layer rounds may go by how many examples it is given at once, and in a deep network with
    kinks (ReLU) a last bit can become a thousandth of a gradient. With `alike` every part is filled
    up to `micro_batch`, so that an example gives the same whoever is beside it.
    """

    def __init__(
        self,
        model: Any,
        clipping_norm: float,
        loss: Callable[[Any, Any], Any] = cross_entropy,
        micro_batch: int = MICRO_BATCH,
        alike: bool = False,
    ) -> None:
        self.model = model
        self.loss = loss
        self._multiple = micro_batch if alike else _MULTIPLE
        self.alike = alike
        self._layers = [layer for layer in weighted(model) if layer.trainable_variables]
        self._places = {id(v): place for place, v in enumerate(model.trainable_variables)}
        self._bound = tf.Variable(0.0, trainable=False)
        self.clip_to(clipping_norm)
        self._micro_batch = micro_batch
        # TF32 rounds to 10 bits: a GPU's sum of clipped gradients could be longer than their bound.
        tf.config.experimental.enable_tensor_float_32_execution(False)
        # On CPUs, XLA makes convolutions several times slower.
        self._part = tf.function(self._clipped, jit_compile=False, reduce_retracing=True)

    def __call__(self, x: Any, y: Any) -> Clipped:
        """Examples x (n, …) and y (n, …); without any (n = 0) the sums are zeros."""
        results = [
            self._finite(x[at : at + self._micro_batch], y[at : at + self._micro_batch])
            for at in range(0, len(x), self._micro_batch)
        ]
        if not results:
            zeros = [tf.zeros(variable.shape) for variable in self.model.trainable_variables]
            return Clipped(zeros, tf.zeros(0), tf.zeros(0), 0)
        if len(results) == 1:
            return results[0]
        sums, norms, losses, faulty = zip(*results, strict=True)
        totals = [tf.add_n(parts) for parts in zip(*sums, strict=True)]
        return Clipped(totals, tf.concat(norms, 0), tf.concat(losses, 0), sum(faulty))

    def clip_to(self, clipping_norm: float) -> None:
        """Clip to another norm from now on."""
        self._bound.assign(clipping_norm * (1 - _ROUNDING))

    def weights(self, norms: Any) -> Any:
        """What gradients of these norms (n,) are multiplied by, (n,), so that none is too long."""
        bound = tf.convert_to_tensor(self._bound)
        return bound / tf.maximum(norms, bound)

    def filled(self, x: Any) -> Any:
        """One example, or its label, until a part is full, where `alike`."""
        return tf.repeat(x, self._micro_batch, 0) if self.alike else x

    def _finite(self, x: Any, y: Any) -> Clipped:
        sums, norms, losses = self._part(x, y, tf.constant(len(x)))
        finite = np.isfinite(norms)
        if not finite.all():  # 0 times NaN is NaN: leave those out instead
            some = tf.boolean_mask(x, finite), tf.boolean_mask(y, finite)
            sums = ClippedGradients.__call__(self, *some).sums
        return Clipped(sums, norms, losses, len(finite) - int(finite.sum()))

    def _clipped(self, x: Any, y: Any, count: Any) -> tuple[list[Any], Any, Any]:
        """Sums, norms and losses; not finite if one example's gradient is not."""
        size = tf.maximum(1, -(-count // self._multiple)) * self._multiple
        real = tf.range(size) < count
        index = tf.where(real, tf.range(size), 0)  # filled up with the first example, at weight 0
        losses, used = self._backward(tf.gather(x, index), tf.gather(y, index))
        shares = [(layer, share(layer, a, g)) for layer, a, g in used]
        norms = tf.sqrt(tf.add_n([square for _, (square, _) in shares]))
        weights = tf.where(real, self.weights(norms), 0.0)
        sums: list[Any] = [None] * len(self._places)
        for layer, (_, weighted_sum) in shares:
            totals = weighted_sum(weights)
            for variable, total in zip(layer.trainable_variables, totals, strict=True):
                sums[self._places[id(variable)]] = tf.reshape(total, variable.shape)
        return sums, norms[:count], losses[:count]

    def _backward(self, x: Any, y: Any) -> tuple[Any, list[tuple[Any, Any, Any]]]:
        """Losses, and each layer with its inputs and the gradient of the losses at its outputs."""
        used: list[tuple[Any, Any]] = []
        outputs: list[Any] = []
        with tf.GradientTape() as tape, self._noting(used, outputs):
            losses = self.loss(y, self.model(x, training=True))
        gradients = tape.gradient(losses, outputs, unconnected_gradients="zero")
        return losses, [(*both, g) for both, g in zip(used, gradients, strict=True)]

    @contextmanager
    def _noting(self, used: list[tuple[Any, Any]], outputs: list[Any]) -> Iterator[None]:
        """Within, layers note their inputs, and their outputs before the activation."""

        def note(layer: Any, h: Any, **_: Any) -> Any:
            if any(layer is earlier for earlier, _ in used):
                raise UnsupportedLayer(f"{layer.name} is used twice: give each place its own layer")
            inputs, z, output = apply(layer, h)
            used.append((layer, inputs))
            outputs.append(z)
            return output

        for layer in self._layers:
            layer.call = partial(note, layer)
        try:
            yield
        finally:
            for layer in self._layers:
                del layer.call


def noisy_mean(
    sums: Sequence[Any], noise: float, batch_size: int, randomness: Randomness
) -> list[Any]:
    """What is released of a batch: its sums with noise of standard deviation `noise`, the noise
    multiplier times the clipping norm, divided by the public batch size.

    However many examples the batch really holds, and be it none: to divide by that number, or to
    release nothing, would tell it.
    """
    sizes = [math.prod(total.shape) for total in sums]
    drawn = np.split(randomness.normal(sum(sizes), noise), np.cumsum(sizes)[:-1])
    return [
        (total + values.reshape(total.shape)) / batch_size
        for total, values in zip(sums, drawn, strict=True)
    ]


def self_test(
    clipped: ClippedGradients,
    records: int,
    examples: Callable[[Sequence[int]], tuple[Any, Any]],
) -> SelfTest:
    """What the loop needs to test the recipe's own step; `examples` gives x and y by indices."""

    def clipped_sum(indices: Sequence[int]) -> NDArray[np.float32]:
        return _flat(clipped(*examples(indices)).sums)

    def plain_gradient(index: int) -> NDArray[np.float32]:
        x, y = (clipped.filled(each) for each in examples([index]))
        variables = clipped.model.trainable_variables
        with tf.GradientTape() as tape:
            loss = clipped.loss(y, clipped.model(x, training=True))[0]
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        return _flat([tf.convert_to_tensor(gradient) for gradient in gradients])  # sparse ones too

    tolerance = checks.KINKS if clipped.alike else checks.TOLERANCE
    return SelfTest(records, plain_gradient, clipped_sum, tolerance)


def _flat(tensors: Sequence[Any]) -> NDArray[np.float32]:
    return np.concatenate([np.ravel(tensor) for tensor in tensors])
