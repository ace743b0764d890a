"""DP-SGD over several ranks, whose epsilon is that of one process, since one process it is.

Rank 0 alone samples, pays, adds noise, divides and takes the optimiser's step, as without others:
they work for it. Of a batch that it has drawn it gives each rank a part, together with the weights
and the clipping norm of the step, and gets back the sum of the part's clipped gradients. So

    the Poisson sample is one, of all records; each record of it is in one part, and clipped there
    the noise is drawn once, for the sum of all parts, which is divided by the public batch size
    a ledger that refuses a step is heard before anybody has computed for it
    a rank that got no record joins in with zeros, and without a rank that is lost no sum comes out

and the self-test and the audit, which go by rank 0's own steps, see what the ranks do.
"""

from __future__ import annotations

import atexit
import contextlib
import struct

import torch
import torch.distributed as dist
from torch import Tensor, nn

from traindeck.core import track
from traindeck.recipes.shared.training.dp.torch import MICRO_BATCH, Clipped, ClippedGradients
from traindeck.recipes.shared.training.parallel.ranks import METERED, Meter, by_rank
from traindeck.recipes.shared.training.parallel.torch import join

_THROUGH = -1  # instead of a batch's size
_DTYPES = (torch.float32, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)
_WORDS = 10  # that describe a tensor: its type, its number of dimensions, and them


def clipped_gradients(
    run: track.Run, model: nn.Module, clipping_norm: float, micro_batch: int = MICRO_BATCH
) -> ClippedGradients:
    """`ClippedGradients` of the model over all ranks of the run, at rank 0.

    Any other rank works for it until it is through; then its process ends.
    """
    ranks = join(run, next(model.parameters()).device)
    if ranks.count == 1:
        return ClippedGradients(model, clipping_norm, micro_batch=micro_batch)
    shared = SharedGradients(model, clipping_norm, ranks.number, ranks.count, micro_batch)
    if ranks.number:
        shared.work()
        raise SystemExit(0)
    atexit.register(shared.end)
    return shared


class Together(Clipped):
    """What a batch gives that ranks have divided.

    used  (ranks, 2): per cent of a core and bytes of memory of each since the last batch
    """

    used: Tensor

    def telemetry(self, clipping_norm: float) -> dict[str, float]:
        return super().telemetry(clipping_norm) | by_rank(METERED, self.used.tolist())


class SharedGradients(ClippedGradients):
    """Sums of clipped per-example gradients, for which all ranks compute a part each."""

    def __init__(
        self, model: nn.Module, clipping_norm: float, number: int, count: int, micro_batch: int
    ) -> None:
        super().__init__(model, clipping_norm, micro_batch=micro_batch)
        self._number, self._count = number, count
        self._device = next(model.parameters()).device
        self._meter = Meter()

    def clip_to(self, clipping_norm: float) -> None:
        self._norm = clipping_norm
        super().clip_to(clipping_norm)

    def __call__(self, x: Tensor, y: Tensor) -> Clipped:
        """At rank 0: as without other ranks, in the order of the examples."""
        self._say([len(x), _bits(self._norm), *_described(x), *_described(y)])
        most = -(-len(x) // self._count)
        sums, rows, faulty = self._together(self._deal(x, most), self._deal(y, most), len(x))
        norms, losses = torch.cat([row[:, :most] for row in rows], 1)[:, : len(x)]
        result = Together(sums, norms, losses, faulty)
        result.used = torch.stack([row[:, most] for row in rows])
        return result

    def work(self) -> None:
        """At any other rank: compute parts for rank 0 until it is through."""
        while (told := self._told())[0] != _THROUGH:
            size, norm, rest = told[0], told[1], told[2:]
            self.clip_to(_number(norm))
            most = -(-size // self._count)
            x, y = (self._dealt(each, most) for each in (rest[:_WORDS], rest[_WORDS:]))
            self._together(x, y, size)

    def end(self) -> None:
        """At rank 0: there is nothing more to compute."""
        with contextlib.suppress(RuntimeError):  # the others have ended
            self._say([_THROUGH])

    def _together(self, x: Tensor, y: Tensor, size: int) -> tuple[list[Tensor], list[Tensor], int]:
        """What all parts come to, at rank 0: sums, norms and losses of each, how many faulty.

        x, y  this rank's part, filled up to the length of the longest
        """
        self._weights_of_rank_0()
        most = len(x)
        own = min(max(size - self._number * most, 0), most)
        result = super().__call__(x[:own], y[:own])
        flat = torch.cat([total.flatten() for total in result.sums])
        flat = torch.cat([flat, flat.new_tensor([float(result.faulty)])])
        dist.reduce(flat, 0)
        row = flat.new_zeros(2, most + 1)
        row[0, :own], row[1, :own] = result.norms, result.losses
        row[:, most] = row.new_tensor([*self._meter.read().values()])
        rows = [torch.empty_like(row) for _ in range(self._count)]
        dist.all_gather(rows, row)
        parts = flat[:-1].split([total.numel() for total in result.sums])
        sums = [part.view_as(total) for part, total in zip(parts, result.sums, strict=True)]
        return sums, rows, int(flat[-1].item())

    @torch.no_grad()
    def _weights_of_rank_0(self) -> None:
        parameters = list(self.model.parameters())
        weights = torch.cat([parameter.flatten() for parameter in parameters])
        dist.broadcast(weights, 0)
        if self._number:
            parts = weights.split([parameter.numel() for parameter in parameters])
            for parameter, part in zip(parameters, parts, strict=True):
                parameter.copy_(part.view_as(parameter))

    def _deal(self, whole: Tensor, most: int) -> Tensor:
        """Rank 0's part of a tensor whose other parts the others get."""
        parts = whole.new_zeros(self._count * most, *whole.shape[1:])
        parts[: len(whole)] = whole
        own = torch.empty_like(parts[:most])
        if most:
            dist.scatter(own, list(parts.split(most)), 0)
        return own

    def _dealt(self, described: list[int], most: int) -> Tensor:
        shape = described[2 : 2 + described[1]]
        own = torch.empty(most, *shape, dtype=_DTYPES[described[0]], device=self._device)
        if most:
            dist.scatter(own, None, 0)
        return own

    def _say(self, words: list[int]) -> None:
        dist.broadcast(self._message(words), 0)

    def _told(self) -> list[int]:
        message = self._message([])
        dist.broadcast(message, 0)
        words: list[int] = message.tolist()
        return words

    def _message(self, words: list[int]) -> Tensor:
        filled = words + [0] * (2 + 2 * _WORDS - len(words))
        return torch.tensor(filled, dtype=torch.int64, device=self._device)


def _described(tensor: Tensor) -> list[int]:
    shape = tensor.shape[1:]
    words = [_DTYPES.index(tensor.dtype), len(shape), *shape]
    return words + [0] * (_WORDS - len(words))


def _bits(number: float) -> int:
    bits: int = struct.unpack("<q", struct.pack("<d", number))[0]
    return bits


def _number(bits: int) -> float:
    number: float = struct.unpack("<d", struct.pack("<q", bits))[0]
    return number
