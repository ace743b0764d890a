"""What pycocotools prints: ``Average Precision (AP) @[ IoU=0.50:0.95 | area= all | … ] = 0.4``."""

from __future__ import annotations

import re

from traindeck.core.exchange.printed.numbers import MARK
from traindeck.core.exchange.printed.plan import Value

_LINE = re.compile(
    rf"Average (?:Precision|Recall)\s+\((?P<name>AP|AR)\) @\[ IoU={MARK}(?P<range>:{MARK})?\s*"
    rf"\| area=\s*(?P<area>\w+) \| maxDets=\s*{MARK} \] = {MARK}"
)


def coco(shape: str, first: int) -> Value | None:
    """The value on such a line, in a shape whose first number is the line's `first`.

    It is called AP@0.50:0.95, AP@0.50:0.95/small, AR@0.50:0.95/all/10.
    """
    match = _LINE.search(shape)
    if match is None:
        return None
    at = first + shape.count(MARK, 0, match.start())
    overlap = f"{MARK}{at}{MARK}"
    if match["range"]:
        overlap += f":{MARK}{at + 1}{MARK}"
        at += 1
    name = f"{match['name']}@{overlap}"
    if match["name"] == "AR":
        name += f"/{match['area']}/{MARK}{at + 1}{MARK}"
    elif match["area"] != "all":
        name += f"/{match['area']}"
    return Value(name, at + 2)
