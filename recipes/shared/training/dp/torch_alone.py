"""Per-example gradients of any layer at all: the layer is run again for each example by itself.

By torch.func.vmap, all examples at once, and one after the other where a layer cannot be mapped so.
Slow, and right for each layer that treats an example by itself; one that does not is seen, since
its output is then another when the example is alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

MIXED = 1e-3  # of the largest output: more may not differ between an example alone and in a batch


class NotAlone(Exception):
    """A layer does not treat each example by itself, or cannot be run again; says why."""


def tensors(value: Any) -> Iterator[Tensor]:
    """Those in an output: a tensor, or tuples, lists and mappings of outputs."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for each in value:
            yield from tensors(each)
    elif isinstance(value, Mapping):
        yield from tensors(list(value.values()))


class Alone:
    """A layer's call, to be done again.

    layer    with trainable weights, `weights` in the order of `layer.parameters()`
    given    positional arguments, and `named` ones
    batched  which of them, places or names, hold the examples in dim 0
    chosen   places among the output's tensors of those that have gradients
    outputs  these tensors
    """

    def __init__(
        self,
        layer: nn.Module,
        given: Sequence[Any],
        named: Mapping[str, Any],
        batched: Sequence[int | str],
        output: Any,
    ) -> None:
        self._layer = layer
        self._given: dict[Any, Any] = dict(enumerate(given))
        self._given.update(named)
        self._places = len(given)
        self._batched = batched
        self._examples = [self._given[key].detach() for key in batched]
        every = list(tensors(output))
        self._chosen = [place for place, tensor in enumerate(every) if tensor.requires_grad]
        self.outputs = [every[place] for place in self._chosen]
        self._was = [output.detach() for output in self.outputs]
        self._weights = {k: p for k, p in layer.named_parameters() if p.requires_grad}

    def gradients(self, cotangents: Sequence[Tensor]) -> list[Tensor]:
        """(n, …) of each trainable weight, from the losses' gradients at the outputs."""
        before = _random_state(self._was[0].device)
        with torch.no_grad():
            weights = {name: weight.detach() for name, weight in self._weights.items()}
            single = self._again(weights, [example[:1] for example in self._examples])
        dims = [_batch_dim(one, was) for one, was in zip(single, self._was, strict=True)]
        try:
            if isinstance(self._layer, nn.RNNBase):
                raise NotImplementedError
            gradients, again = self._mapped(weights, cotangents, dims)
        except (RuntimeError, ValueError):  # in which vmap says of many layers that it cannot
            gradients, again = self._one_by_one(cotangents, dims)
        if not torch.equal(before, _random_state(self._was[0].device)):
            raise NotAlone(
                "draws random numbers, and others when it is run again: set dropout to 0"
            )
        if any(_differ(*both) for both in zip(again, self._was, strict=True)):
            raise NotAlone("gives an example another output among others than alone")
        return gradients

    def _again(self, weights: Mapping[str, Tensor], examples: Sequence[Tensor]) -> list[Tensor]:
        """The outputs with these weights and examples (m, …)."""
        values = {**self._given, **dict(zip(self._batched, examples, strict=True))}
        given = tuple(values.pop(place) for place in range(self._places))
        every = list(tensors(functional_call(self._layer, dict(weights), given, values)))
        return [every[place] for place in self._chosen]

    def _mapped(
        self, weights: dict[str, Tensor], cotangents: Sequence[Tensor], dims: Sequence[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        def alone(examples: list[Tensor], ends: list[Tensor]) -> tuple[Any, list[Tensor]]:
            first = [example[None] for example in examples]
            outputs, back, *_ = vjp(lambda own: self._again(own, first), weights, has_aux=False)
            shaped = [end.unsqueeze(dim) for end, dim in zip(ends, dims, strict=True)]
            return back(shaped)[0], [o.squeeze(dim) for o, dim in zip(outputs, dims, strict=True)]

        moved = [end.movedim(dim, 0) for end, dim in zip(cotangents, dims, strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of operations that vmap loops over
            gradients, again = vmap(alone)(self._examples, moved)
        placed = [output.movedim(0, dim) for output, dim in zip(again, dims, strict=True)]
        return list(gradients.values()), placed

    def _one_by_one(
        self, cotangents: Sequence[Tensor], dims: Sequence[int]
    ) -> tuple[list[Tensor], list[Tensor]]:
        rows, outputs = [], []
        parameters = list(self._weights.values())
        for place in range(len(self._examples[0])):
            with torch.enable_grad():
                one = [example[place : place + 1] for example in self._examples]
                again = self._again(self._weights, one)
                ends = [g.narrow(dim, place, 1) for g, dim in zip(cotangents, dims, strict=True)]
                rows.append(torch.autograd.grad(again, parameters, ends, materialize_grads=True))
            outputs.append([output.detach() for output in again])
        again = [
            torch.cat(each, dim) for each, dim in zip(zip(*outputs, strict=True), dims, strict=True)
        ]
        return [torch.stack(each) for each in zip(*rows, strict=True)], again


def _batch_dim(single: Tensor, whole: Tensor) -> int:
    """Where an output for one example and that for all differ."""
    for dim, size in enumerate(single.shape):
        shape = (*single.shape[:dim], whole.shape[dim] if dim < whole.dim() else 0)
        if size == 1 and (*shape, *single.shape[dim + 1 :]) == whole.shape:
            return dim
    raise NotAlone(f"has outputs of shape {tuple(whole.shape)}, in which no dim is the examples'")


def _differ(again: Tensor, was: Tensor) -> bool:
    """Whether outputs are not the same, rounding and what is not finite apart."""
    off = (again - was).abs()
    off = off[off.isfinite()]
    largest = was[was.isfinite()].abs()
    return bool(off.numel()) and bool(off.max() > MIXED * largest.max() + 1e-6)


def _random_state(device: torch.device) -> Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
