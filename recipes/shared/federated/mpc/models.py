"""Logistic regression and a small network on shares, and the same in the clear to compare with.

Numbers are fixed-point: integers in a prime field, the last F bits of which are a fraction. What
is computed on shares differs from the same steps in floating point by rounding alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from traindeck.recipes.shared.federated.mpc.party import Party

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]

# A sigmoid that sums and products can do: the cubic closest to it, by least squares, from -8 to 8
# (M. Kim, Y. Song, S. Wang, Y. Xia, X. Jiang: Secure Logistic Regression Based on Homomorphic
# Encryption, JMIR Medical Informatics 6(2), 2018). Far beyond that it turns round and training
# diverges, in the clear as well: weights must decay, and the learning rate not be too large.
LINEAR, CUBIC = 1.20096 / 8, 0.81562 / 512
SCALE = float(np.sqrt(CUBIC))  # measures times this: the cubic needs no product with a constant

LOGISTIC_BITS, LOGISTIC_FRACTION = 52, 26
NETWORK_BITS, NETWORK_FRACTION = 40, 20
SAY_EVERY = 5  # rounds; waiting for one also keeps memory flat, as MPyC computes ahead
IMAGES_AT_ONCE = 20

MLP = ("w1", "b1", "w2", "b2")


def cubic(z: Floats) -> Floats:
    """The sigmoid as it is computed on shares."""
    return np.asarray(0.5 + LINEAR * z - CUBIC * z**3)


def sigmoid(z: Floats) -> Floats:
    """The true one."""
    return np.asarray(0.5 * (1 + np.tanh(z / 2)))


def padded(rows: npt.NDArray[np.floating], bound: int) -> Floats:
    """Rows (n, d) among rows of zeros, (bound, d): how many are real does not show on shares.

    They are spread evenly, so that every batch has some. Raises ValueError when bound < n.
    """
    if len(rows) > bound:
        raise ValueError(f"{len(rows)} rows do not fit the {bound} that were agreed")
    wide = np.zeros((bound, rows.shape[1]))
    wide[np.arange(len(rows)) * bound // max(1, len(rows))] = rows
    return wide


def with_intercept(x: npt.NDArray[np.floating]) -> Floats:
    """Measures (n, d) and a column of ones, (n, d + 1)."""
    return np.column_stack([x, np.ones(len(x))]).astype(np.float64)


def batches(bound: int, size: int, rounds: int) -> list[slice]:
    """Which rows each round takes; every `bound // size` rounds have taken all of them once."""
    each = max(1, bound // size)
    return [slice(at % each * size, (at % each + 1) * size) for at in range(rounds)]


def train_plain(
    blocks: Sequence[tuple[Floats, Floats]],
    rounds: int,
    lr: float,
    decay: float,
    batch: int,
    squash: Callable[[Floats], Floats],
) -> Floats:
    """What `train_shared` computes, in the clear: weights (d,).

    blocks: x (bound, d) with its intercept and y (bound, 1), padded, of each owner; decay: of the
    weights, half the factor of their squares in the loss.
    """
    w = np.zeros((blocks[0][0].shape[1], 1))
    for rows in batches(len(blocks[0][0]), batch, rounds):
        x = np.concatenate([x[rows] for x, _ in blocks])
        y = np.concatenate([y[rows] for _, y in blocks])
        w = (1 - lr * decay) * w - lr / len(x) * x.T @ (squash(x @ w) - y)
    return w.ravel()


def fixed(party: Party, bits: int, fraction: int) -> Any:
    """MPyC's type of numbers of so many bits, of which a fraction."""
    return party.mpc.SecFxp(bits, fraction)


def share(party: Party, number: Any, sender: int, values: Floats | None, shape: Any) -> Any:
    """Shares of what `sender` holds; the others give None. All must give the same shape."""
    own = values if party.index == sender and values is not None else np.zeros(shape)
    if own.shape != tuple(shape):
        raise ValueError(f"{own.shape} is not the shape that was agreed, {tuple(shape)}")
    return party.mpc.input(number.array(own, integral=False), senders=sender)


def share_measures(party: Party, sender: int, x: Floats | None, shape: tuple[int, int]) -> Any:
    """Shares of x (bound, d), as `train_shared` takes them."""
    scaled = None if x is None else x * SCALE
    return share(party, fixed(party, LOGISTIC_BITS, LOGISTIC_FRACTION), sender, scaled, shape)


def share_labels(
    party: Party, sender: int, y: Floats | None, real: Floats | None, bound: int
) -> Any:
    """Shares of y (bound, 1), 0 or 1; real (bound, 1) is 0 where a row is padding."""
    target = None if y is None or real is None else SCALE * (0.5 - y) * real
    number = fixed(party, LOGISTIC_BITS, LOGISTIC_FRACTION)
    return share(party, number, sender, target, (bound, 1))


async def train_shared(
    party: Party,
    blocks: Sequence[tuple[Any, Any]],
    rounds: int,
    lr: float,
    decay: float,
    batch: int,
    say: Callable[[int], None],
    receivers: Sequence[int] | None = None,
) -> Floats | None:
    """Gradient descent on shares: weights (d,), opened to the receivers (all), else None.

    blocks: of each owner, `share_measures` and `share_labels` of its padded rows. A round takes
    `batch` rows of each. say: is told of rounds done.

    With measures x' = sx and s² the cubic's coefficient, a round is z' = x'w,
    r' = z'(LINEAR - z'²) + s(½ - y), w -= lr/(n s²) x'ᵀr' + lr decay w, with n numbers rounded
    three times.
    """
    mpc = party.mpc
    number = fixed(party, LOGISTIC_BITS, LOGISTIC_FRACTION)
    bound, d = blocks[0][0].shape
    step = lr / (batch * len(blocks)) / SCALE**2
    linear = number.array(np.full((batch * len(blocks), 1), LINEAR), integral=False)
    w = number.array(np.zeros((d, 1)), integral=False)
    for done, rows in enumerate(batches(bound, batch, rounds), 1):
        x = mpc.np_concatenate([x[rows] for x, _ in blocks])
        target = mpc.np_concatenate([y[rows] for _, y in blocks])
        z = x @ w
        w = w * (1 - lr * decay) - (x.T @ (z * (linear - z * z) + target)) * step
        if done % SAY_EVERY == 0 or done == rounds:
            await mpc.gather(w)
            say(done)
    opened = await mpc.output(w, receivers=receivers)
    return None if opened is None else np.asarray(opened, np.float64).ravel()


def train_network(
    x: npt.NDArray[np.floating], y: Labels, *, hidden: int, epochs: int, seed: int
) -> dict[str, Floats]:
    """A network inputs → hidden (ReLU) → 10, by gradient descent with momentum; see `MLP`.

    x: (n, inputs) from 0 to 1; y: (n,). Seconds on one core.
    """
    random = np.random.default_rng(seed)
    sizes = [(x.shape[1], hidden), (hidden, 10)]
    w1, w2 = (random.normal(0, np.sqrt(2 / size[0]), size) for size in sizes)
    model = [w1, np.zeros(hidden), w2, np.zeros(10)]
    velocity = [np.zeros_like(part) for part in model]
    for epoch in range(epochs):
        lr = 0.1 * (1 - epoch / epochs)
        order = random.permutation(len(x))
        for at in range(0, len(x), 32):
            rows = order[at : at + 32]
            h = np.maximum(x[rows] @ model[0] + model[1], 0)
            logits = h @ model[2] + model[3]
            odds = np.exp(logits - logits.max(1, keepdims=True))
            error = odds / odds.sum(1, keepdims=True)
            error[np.arange(len(rows)), y[rows]] -= 1
            error /= len(rows)
            back = error @ model[2].T * (h > 0)
            gradient = [x[rows].T @ back, back.sum(0), h.T @ error, error.sum(0)]
            for part, speed, slope in zip(model, velocity, gradient, strict=True):
                speed *= 0.9
                speed -= lr * slope
                part += speed
    return dict(zip(MLP, model, strict=True))


def predict_plain(model: dict[str, Floats], x: Floats) -> Labels:
    """Labels (n,) of x (n, inputs), in the clear."""
    hidden = np.maximum(x @ model["w1"] + model["b1"], 0)
    return np.asarray((hidden @ model["w2"] + model["b2"]).argmax(1))


async def predict_shared(
    party: Party,
    model: dict[str, Floats] | None,
    x: Floats | None,
    sizes: tuple[int, int, int, int],
    say: Callable[[int], None],
    *,
    holder: int = 0,
    client: int = 1,
) -> Labels | None:
    """Labels (n,) of the client's images under the holder's model; None to all but the client.

    sizes: images, inputs, hidden, classes, which all know. Of weights, images, logits and labels
    nobody learns more than they hold, but the client its labels.
    """
    mpc = party.mpc
    number = fixed(party, NETWORK_BITS, NETWORK_FRACTION)
    images, inputs, hidden, classes = sizes
    shapes = ((inputs, hidden), (1, hidden), (hidden, classes), (1, classes))
    shared = {}
    for name, shape in zip(MLP, shapes, strict=True):
        values = None if model is None else model[name].reshape(shape)
        shared[name] = share(party, number, holder, values, shape)
    labels: list[Any] = []
    for at in range(0, images, IMAGES_AT_ONCE):
        count = min(IMAGES_AT_ONCE, images - at)
        part = None if x is None else x[at : at + count]
        h = share(party, number, client, part, (count, inputs)) @ shared["w1"]
        h = h + shared["b1"]
        h = h * (1 - (h < 0))
        logits = h @ shared["w2"] + shared["b2"]
        opened = await mpc.output(mpc.np_argmax(logits, axis=1), receivers=[client])
        labels.append(opened)
        say(at + count)
    if party.index != client:
        return None
    return np.concatenate(
        [np.asarray(part, np.float64).round().astype(np.int64) for part in labels]
    )
