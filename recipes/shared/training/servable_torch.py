"""A trained PyTorch model as it is served: `torch.export`, names kept, any number of records.

Its input is what clients have, such as bytes of an image; what prepares it is part of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from traindeck.core import track
from traindeck.recipes.shared.training.data.served import OUTPUT, Served

Before = Callable[[Tensor], Tensor]
"""Raw input as floats (n, …) on the CPU, to what the model takes."""


def leave(run: track.Run, model: nn.Module, before: Before, served: Served) -> None:
    """Leave the run's servable: the model after `before`, its outputs made probabilities.

    model  gives (n, classes) logits, or (n, 1): that of the second of two classes

    Of several ranks the first leaves it.
    """
    if run.rank and run.rank.number:
        return
    program = exported(model, before, served)
    run.servable(
        lambda folder: torch.export.save(program(), folder / "model.pt2"),
        served.inputs,
        served.outputs,
    )


def exported(model: nn.Module, before: Before, served: Served) -> Callable[[], ExportedProgram]:
    """What makes the program that is saved."""

    def make() -> ExportedProgram:
        own = copy.deepcopy(model).cpu().eval()
        shape = [size or 1 for size in served.tensor["shape"]]
        # Of zeros: a file of this format keeps the example that it was made with.
        example = torch.zeros(2, *shape, dtype=getattr(torch, served.tensor["dtype"]))
        program = torch.export.export(
            _SERVABLES[served.name](own, before),
            (),
            {served.name: example},
            dynamic_shapes={served.name: {0: torch.export.Dim("batch", min=1)}},
        )
        return without_paths(program)

    return make


def without_paths(program: ExportedProgram) -> ExportedProgram:
    """The same program, without the paths of whoever trained it."""
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                node.meta.pop("stack_trace", None)
    return program


class _Servable(nn.Module):
    def __init__(self, model: nn.Module, before: Before) -> None:
        super().__init__()
        self.model = model
        self._before = before

    def answer(self, raw: Tensor) -> dict[str, Tensor]:
        logits = self.model(self._before(raw.float()))
        if logits.shape[1] == 1:
            logits = torch.concat([torch.zeros_like(logits), logits], 1)
        return {OUTPUT: torch.softmax(logits, 1)}


class _OfImages(_Servable):
    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return self.answer(image)


class _OfMeasures(_Servable):
    def forward(self, measures: Tensor) -> dict[str, Tensor]:
        return self.answer(measures)


_SERVABLES: dict[str, type[_Servable]] = {"image": _OfImages, "measures": _OfMeasures}
"""By the name of the input: that of the argument is what is kept."""
