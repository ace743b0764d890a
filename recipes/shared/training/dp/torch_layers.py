"""What DP-SGD in PyTorch knows of layers: which it can use, how fast, and what they do in a pass.

Linear, Conv2d, GroupNorm, LayerNorm, RMSNorm, Embedding and MultiheadAttention are known; any other
layer with weights is run again for each example by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from traindeck.recipes.shared.training.dp import torch_shares as shares
from traindeck.recipes.shared.training.dp.torch_alone import Alone, NotAlone
from traindeck.recipes.shared.training.dp.torch_attention import Rows, attend
from traindeck.recipes.shared.training.dp.torch_shares import Share

_WHOLE = slice(None)
_SHARES: dict[type, Callable[[Any, Tensor, Tensor], Share]] = {
    nn.Linear: lambda layer, a, g: shares.linear(a, g, layer.bias is not None),
    nn.Conv2d: lambda layer, a, g: (
        shares.conv2d(layer, a, g) if layer.groups == 1 else shares.depthwise(layer, a, g)
    ),
    nn.GroupNorm: shares.group_norm,
    nn.LayerNorm: shares.layer_norm,
    nn.RMSNorm: shares.rms_norm,
    nn.Embedding: shares.embedding,
}


class UnsupportedLayer(Exception):
    """A layer whose per-example gradients cannot be had here; says which and what to use."""


@dataclass(slots=True)
class Use:
    """Where a layer's weights met the examples.

    called   what to call the layer
    weights  which of them, and which of their rows
    outputs  of the layer, with a graph behind them
    share    from the gradients of the losses at the outputs
    """

    called: str
    weights: list[Rows]
    outputs: list[Tensor]
    share: Callable[[list[Tensor]], Share]
    _versions: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self._versions = [output._version for output in self.outputs]

    def check(self) -> None:
        """Raise UnsupportedLayer where an output is no longer what the layer gave."""
        if self._versions != [output._version for output in self.outputs]:
            raise UnsupportedLayer(
                f"what comes after {self.called} changes its output in place: use inplace=False"
            )
        for output, (weight, _) in product(self.outputs, self.weights):
            if output.dtype != weight.dtype:
                raise UnsupportedLayer(
                    f"{self.called} gives {output.dtype} for weights of {weight.dtype}: leave"
                    " autocast out, norms of so few digits let gradients be longer than their bound"
                )


class Layers:
    """A model's layers with trainable weights. UnsupportedLayer is raised for one of no use.

    slow  what those are called that are run again for each example
    """

    def __init__(self, model: nn.Module) -> None:
        self._called: dict[nn.Module, str] = {}
        self.slow: list[str] = []
        self._single: dict[nn.Module, dict[int | str, int]] = {}
        owners: dict[Tensor, str] = {}
        inside: str | None = None
        for name, layer in model.named_modules(remove_duplicate=False):
            called = f"{name or 'the model'} ({type(layer).__name__})"
            _refuse(layer, called)
            own = [p for p in layer.parameters(recurse=False) if p.requires_grad]
            for parameter in own:
                if parameter in owners:
                    raise UnsupportedLayer(
                        f"{called} shares weights with {owners[parameter]}: give each its own"
                    )
                owners[parameter] = called
                if parameter.dtype not in (torch.float32, torch.float64):
                    raise UnsupportedLayer(
                        f"{called} has weights of {parameter.dtype}, whose digits are too few for"
                        " norms and sums that nothing is longer than: use float32"
                    )
            if inside is not None and (not inside or name.startswith(f"{inside}.")):
                continue  # of a layer that is taken whole
            inside = None
            whole = isinstance(layer, nn.MultiheadAttention) or parametrize.is_parametrized(layer)
            if own or (whole and any(p.requires_grad for p in layer.parameters())):
                inside = name
                self._called[layer] = called
                if not _known(layer, called):
                    self.slow.append(called)

    @contextmanager
    def watched(self, count: int) -> Iterator[list[Use]]:
        """Makes a list of what the layers do in the forward pass within, of so many examples."""
        uses: list[Use] = []
        seen: set[nn.Module] = set()

        def note(layer: nn.Module, given: Any, named: Any, output: Any) -> None:
            if layer in seen:
                raise UnsupportedLayer(f"{self._called[layer]} is used twice in one forward pass")
            seen.add(layer)
            uses.append(self._use(layer, given, named, output, count))

        def attention(layer: Any, *given: Any, **named: Any) -> Any:
            if layer in seen:
                raise UnsupportedLayer(f"{self._called[layer]} is used twice in one forward pass")
            seen.add(layer)
            return attend(layer, partial(self._map, uses, layer, count), *given, **named)

        handles, replaced = [], []
        for layer, called in self._called.items():
            if type(layer) is nn.MultiheadAttention and called not in self.slow:
                layer.forward = partial(attention, layer)  # type: ignore[method-assign]
                replaced.append(layer)
            else:
                handles.append(layer.register_forward_hook(note, with_kwargs=True))
        try:
            yield uses
        finally:
            for layer in replaced:
                del layer.forward
            for handle in handles:
                handle.remove()

    def _use(self, layer: Any, given: Any, named: Any, output: Any, count: int) -> Use:
        called = self._called[layer]
        arguments = {**dict(enumerate(given)), **named}
        first, a = next(iter(arguments.items()), (0, None))
        a = self._examples(called, a, count)
        weights = [(p, _WHOLE) for p in layer.parameters() if p.requires_grad]
        if called not in self.slow:
            known = _SHARES[type(layer)]
            return Use(called, weights, [output], lambda ends: known(layer, a, ends[0]))
        sizes = {k: len(v) for k, v in arguments.items() if isinstance(v, Tensor) and v.dim()}
        single = self._single.setdefault(layer, sizes)
        # What has as many rows as there are examples, and one when there is one, is theirs.
        batched = [
            key
            for key, size in sizes.items()
            if key == first or (size == count and single.get(key) == 1)
        ]
        call = Alone(layer, given, named, batched, output)

        def share(ends: list[Tensor]) -> Share:
            try:
                return shares.each(call.gradients(ends))
            except NotAlone as reason:
                raise UnsupportedLayer(f"{called} {reason}") from None

        return Use(called, weights, call.outputs, share)

    def _map(
        self,
        uses: list[Use],
        layer: nn.Module,
        count: int,
        x: Tensor,
        weight: Rows,
        bias: Rows | None,
    ) -> Tensor:
        """A linear map within attention."""
        called = self._called[layer]
        a, biased = self._examples(called, x, count), bias is not None
        pair = [weight, bias] if bias else [weight]
        output = F.linear(x, *(of[rows] for of, rows in pair))
        if weight[0].requires_grad:
            uses.append(Use(called, pair, [output], lambda ends: shares.linear(a, ends[0], biased)))
        return output

    @staticmethod
    def _examples(called: str, a: Any, count: int) -> Tensor:
        """What holds an example in each row of its first dim. Raises UnsupportedLayer."""
        shape = tuple(a.shape) if isinstance(a, Tensor) else ()
        if not shape or shape[0] != count:
            raise UnsupportedLayer(
                f"{called} has an input of shape {shape}, which does not hold the {count} examples"
                " in its first dim: put them there, as by batch_first=True, or by expand where it"
                " is the same for all"
            )
        examples: Tensor = a.detach()
        return examples


def _refuse(layer: Any, called: str) -> None:
    """Raise UnsupportedLayer for what no run of one example by itself makes right."""
    if isinstance(layer, nn.modules.batchnorm._BatchNorm):
        raise UnsupportedLayer(f"{called} mixes a batch's examples: use GroupNorm or none")
    if getattr(layer, "track_running_stats", False):
        raise UnsupportedLayer(
            f"{called} keeps statistics of its batches: set track_running_stats=False"
        )
    if not any(parameter.requires_grad for parameter in layer.parameters()):
        return
    if not getattr(layer, "batch_first", True):
        raise UnsupportedLayer(f"{called} takes positions before examples: set batch_first=True")
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        for option, why in (
            ("max_norm", "changes rows by who looks them up"),
            ("scale_grad_by_freq", "scales gradients by the batch's other examples"),
            ("sparse", "has gradients of another layout"),
        ):
            if getattr(layer, option):
                raise UnsupportedLayer(f"{called} {why}: leave {option} out")
    if isinstance(layer, nn.MultiheadAttention) and layer.bias_k is not None:
        raise UnsupportedLayer(f"{called} adds a key and a value: set add_bias_kv=False")


def refuse_dropout(model: nn.Module) -> None:
    """Raise UnsupportedLayer for a layer that drops values at random as the model stands."""
    for name, layer in model.named_modules():
        chance = getattr(layer, "dropout", 0.0)
        if isinstance(layer, nn.modules.dropout._DropoutNd):
            chance = layer.p
        if layer.training and isinstance(chance, float) and chance > 0:
            raise UnsupportedLayer(
                f"{name or 'the model'} ({type(layer).__name__}) drops values at random, and the"
                " self-test compares gradients: set its dropout to 0, noise and clipping keep a"
                " model from learning too much by heart"
            )


def _known(layer: Any, called: str) -> bool:
    """Whether a layer's share is computed here. Raises for one that is frozen in part."""
    if type(layer) is nn.MultiheadAttention:
        names = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
        _all_or_none([*(getattr(layer, name) for name in names), layer.in_proj_bias], called)
        _all_or_none(list(layer.out_proj.parameters()), called)
        return not parametrize.is_parametrized(layer.out_proj)
    if type(layer) not in _SHARES or not {n for n, _ in layer.named_parameters()} <= {
        "weight",
        "bias",
    }:
        return False
    if isinstance(layer, nn.Conv2d):
        named = isinstance(layer.padding, str) or layer.padding_mode != "zeros"
        by_channel = layer.groups == layer.in_channels == layer.out_channels
        if named or not (layer.groups == 1 or by_channel):
            return False
    _all_or_none([layer.weight, getattr(layer, "bias", None)], called)
    return True


def _all_or_none(weights: list[Tensor | None], called: str) -> None:
    if len({weight.requires_grad for weight in weights if weight is not None}) > 1:
        raise UnsupportedLayer(f"{called} is frozen in part: freeze all of it or nothing")
