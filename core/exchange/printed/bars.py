"""Progress bars as tqdm, rich, Keras and Lightning draw them, and what is written around them."""

from __future__ import annotations

import re
from typing import NamedTuple

from traindeck.core.exchange.printed.numbers import MARK

_N = MARK
# 50%|█████| 50/100 [00:10<00:10,  5.0it/s, loss=0.3]
_TQDM = re.compile(
    rf"(?P<share>{_N})%\|\|\s*(?P<done>{_N})(?P<unit>[kKMGT]?i?B?)/(?P<total>{_N})"
    rf"(?P<of>[kKMGT]?i?B?)\s*"
    rf"(?:\[(?P<inside>[^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)(?P<end>\]|$)|{_N}:{_N}(?=\s|$))"
)
# Epoch 1/4 : |██----| 8.70% [2/23 00:00<00:00... 2.2928]
_FASTAI = re.compile(
    rf"\|\|\s{_N}%\s\[(?P<done>{_N})/(?P<total>{_N})\s{_N}:{_N}<[\d:?{_N}]+(?:\.\.\.[^\]]*)?\]"
)
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_RATE = re.compile(rf"^\s*[\d:{_N}?]*\s*<[^,\]]*,\s*(?P<rate>[^,\]]*)(?P<rest>.*)$", re.DOTALL)
# 50/100 [=====>....] - ETA: 5s - loss: 0.3     and   50/100 ━━━━━━━ 5s 100ms/step - loss: 0.3
_KERAS = re.compile(rf"^\s*(?P<done>{_N})/(?P<total>{_N})\s*(?:\[=\]|\u2501|-)(?=\s|$)")
# Epoch 0/9 ━━━━━━━ 50/100 0:00:10 • 0:00:10 5.0it/s loss: 0.3     and   Training ━━━━━━ 50% 0:00:10
_RICH = re.compile(rf"\u2501\s*(?:(?P<done>{_N})\s*/\s*(?P<total>{_N})(?![\w.])|(?P<share>{_N})%)")
_BYTES = re.compile(r"^\s*(?:\?|\S*)[kKMGT]?i?B/s")
_LOADING = re.compile(
    r"(?i)\b(?:download|loading|tokeniz|map\b|filter|extract|fetching|generating|resolving|"
    r"shards|upload|caching|scanning|sanity|copying|unpack|pushing|preprocess|counting|"
    r"compressing|receiving|enumerating|cloning|deltas|decompress|writing|checking out)"
)


class Drawn(NamedTuple):
    """A bar in a shape: what is before it and behind it, cleared of the bar's own numbers.

    `done` and `total` are places among the line's numbers; total None: of 100. `first` is the
    place of the first number in `behind`. `epochs`: it is one of Keras, which has a line for an
    epoch. `loads` is of bars that fetch or prepare rather than train. `scale` is what `done` and
    `total` are counted in: 1000 of ``1.2k``.
    """

    before: str
    behind: str
    first: int
    done: int
    total: int | None
    kind: str
    loads: bool
    scale: tuple[float, float] = (1.0, 1.0)


def loads(text: str) -> bool:
    """Whether what is going on is fetching or preparing."""
    return _LOADING.search(text) is not None


def bar(shape: str) -> Drawn | None:
    """The bar that a shape is drawn with, if it is."""
    if "%||" in shape:
        return _tqdm(shape)
    if ": ||" in shape and (match := _FASTAI.search(shape)):
        first = shape.count(MARK, 0, match.start("done"))
        before = shape[: match.start()].rstrip(" :")
        return Drawn(before, "", shape.count(MARK), first, first + 1, "fastai", False)
    if "\u2501" in shape or "/" in shape:
        return _keras(shape) or _rich(shape)
    return None


def _tqdm(shape: str) -> Drawn | None:
    match = _TQDM.search(shape)
    if match is None:
        return None
    before = shape[: match.start()].rstrip().removesuffix(":")
    first = before.count(MARK)
    rate = _RATE.match(match["inside"] or "")
    behind, start = "", match.end()
    loads = match["unit"].endswith("B") or bool(_LOADING.search(before))
    if rate is not None:
        behind, start = rate["rest"], match.start("inside") + rate.start("rest")
        loads = loads or bool(_BYTES.match(rate["rate"].replace(MARK, "")))
    behind += " " + shape[match.end() :]
    scale = _SCALES.get(match["unit"][:1], 1.0), _SCALES.get(match["of"][:1], 1.0)
    at = shape.count(MARK, 0, start)
    return Drawn(before, behind, at, first + 1, first + 2, "tqdm", loads, scale)


def _keras(shape: str) -> Drawn | None:
    match = _KERAS.match(shape)
    if match is None:
        return None
    behind = shape[match.end() :]
    plain = shape[: match.end()].endswith("-")
    rest = re.sub(rf"^[\s-]*(?:ETA:\s*)?{MARK}(?::{MARK})*[a-z]*(?:/\w+)?", "", behind)
    if plain and rest == behind:  # 3/4 - something
        return None
    at = len(shape) - len(rest)
    return Drawn("", rest, shape.count(MARK, 0, at), 0, 1, "epochs" if plain else "keras", False)


def _rich(shape: str) -> Drawn | None:
    match = _RICH.search(shape)
    if match is None:
        return None
    before = shape[: match.start()]
    first = before.count(MARK)
    behind = shape[match.end() :]
    loads = bool(_LOADING.search(before)) or bool(re.search(rf"{MARK}\s?[kKMG]?B/s", behind))
    total = first + 1 if match["total"] else None
    return Drawn(before, behind, shape.count(MARK, 0, match.end()), first, total, "rich", loads)
