"""How each format is made of a servable, and which can be made of which."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from traindeck.core.base.errors import MissingError, UsageError
from traindeck.core.models.aside import PACKAGES
from traindeck.core.models.bundle import FLOATS, QUANTIZED


@dataclass(frozen=True, slots=True)
class Format:
    """A format of a bundle.

    path     its file in the bundle; empty: the bundle's folder itself
    runtime  what runs it, of `trial.RUNTIMES`
    exact    whether its numbers are float32 throughout, so that it must agree to the last digits
    """

    path: str
    runtime: str
    exact: bool = True


FORMATS = {
    "saved_model": Format("", "saved_model"),
    "pt2": Format("model.pt2", "pt2"),
    "onnx": Format("model.onnx", "onnx"),
    "litert": Format("model.tflite", "litert"),
    "litert-dynamic": Format("lite/dynamic.tflite", "litert", exact=False),
    "litert-f16": Format("lite/f16.tflite", "litert", exact=False),
    "litert-int8": Format("lite/int8.tflite", "litert", exact=False),
    "litert-micro": Format("lite/micro.tflite", "micro", exact=False),
    "executorch": Format("model.pte", "executorch"),
}
CALIBRATED = ("litert-int8", "litert-micro")
"""Those whose scales are taken from data."""
_STANDS_FOR = {"keras": "saved_model", "safetensors": "pt2"}
_MADE_OF = {
    "saved_model": ("saved_model", "litert", "onnx"),
    "pt2": ("pt2", "onnx", "litert", "executorch"),
    "onnx": ("onnx",),
    "litert": ("litert",),
}
_USUAL = {"saved_model": ("saved_model", "litert", "onnx"), "pt2": ("pt2", "onnx")}
_WHY = {
    "executorch": "ExecuTorch is made of PyTorch's .pt2",
    "pt2": "a .pt2 is what PyTorch's models are",
    "saved_model": "a SavedModel is what TensorFlow's models are",
}


def base(kind: str) -> str:
    """The kind that a servable is made, before other formats are made of it."""
    return _STANDS_FOR.get(kind, kind)


def wanted(kind: str, to: str, quantize: str, micro: bool) -> list[str]:
    """The formats to be made of a servable of this kind, its own first. Raises UsageError.

    to        float formats, quantize  of QUANTIZED: each with commas between; empty: the usual
    """
    own = base(kind)
    asked = _words(to, FLOATS, "--to") or [*_USUAL.get(own, (own,))]
    smaller = _words(quantize, QUANTIZED, "--quantize")
    can = _MADE_OF[own]
    for name in asked:
        if name not in can:
            why = _WHY.get(name, f"of {own} can be made {', '.join(can)}")
            raise UsageError(f"--to {name}: the run left {own}: {why}")
    if (smaller or micro) and own not in ("saved_model", "pt2"):
        raise UsageError(f"--quantize: LiteRT is made of a SavedModel or a .pt2, not of {own}")
    if micro and set(smaller) - {"int8"}:
        raise UsageError(
            "--for micro: microcontrollers run int8 in, int8 out: a model that is float in part"
            " (dynamic, f16) is refused there; leave it out of --quantize"
        )
    names = [own, *(name for name in asked if name != own)]
    names += [f"litert-{word}" for word in smaller]
    return names + ["litert-micro"] * micro


def aside_for(kind: str, names: Sequence[str]) -> list[str]:
    """The environments of `aside` that making these formats of such a servable needs."""
    families = dict.fromkeys(name.partition("-")[0] for name in names)
    return [family for family in families if base(kind) == "pt2" and family in PACKAGES]


def check_runtimes(kind: str, names: Sequence[str]) -> None:
    """Whether what reads such a servable, and proves these formats, is installed.

    Raises MissingError with what installs it.
    """
    if kind == "safetensors" and importlib.util.find_spec("safetensors") is None:
        raise MissingError("weights are read by safetensors: pip install 'traindeck[deploy]'")
    if "litert-micro" in names and importlib.util.find_spec("tflite_micro") is None:
        raise MissingError(
            "--for micro is proven by the microcontrollers' own interpreter, which is not"
            " installed: pip install tflite-micro"
        )


def _words(text: str, known: tuple[str, ...], flag: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    for word in words:
        if word not in known:
            raise UsageError(f"{flag} {word}: not one of {', '.join(known)}")
    return words
