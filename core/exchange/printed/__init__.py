"""Metrics that a command prints, whichever way it prints them.

    {"step": 10, "loss": 0.3, "val": {"acc": 0.9}}            → step 10: loss, val/acc
    2026-11-28 19:00:00 INFO epoch 3: loss=0.5 acc: 91.2%     → step 3: loss, acc
    Train Epoch: 1 [640/60000 (1%)]  Loss: 0.3                → train/Loss, progress
     50%|█████     | 50/100 [00:10<00:10, 5.0it/s, loss=0.3]  → step 50: loss, progress

Lines of one kind differ in their numbers only. So a line is split into its numbers and what stands
between them, its shape; each shape is understood once (`shape`), and from then on a line costs its
numbers. What one line of a shape means is a `Plan`.

- `lines`    bytes in pieces to whole lines; a carriage return ends one, too
- `numbers`  a line's numbers and its shape
- `names`    which names are metrics, which steps, and which neither
- `objects`  JSON and what Python prints of dicts and lists, anywhere on a line
- `bars`     progress bars of tqdm, rich, Keras and Lightning
- `pairs`    key=value, key: value, and "loss 0.3"
- `tables`   rows under a header, boxes of names and values
- `tabular`  the tables of one writer, followed
- `coco`     what pycocotools prints
- `ranks`    which rank printed a line
- `patterns` what a user's own regular expression finds
- `shape`    which of them a line is, as a plan
- `steps`    which step a line's values are of
- `reader`   all of it together

Standard library only: this runs in the small process beside each run, on whatever is printed.
"""

from __future__ import annotations

from traindeck.core.exchange.printed.lines import MAX_LINE
from traindeck.core.exchange.printed.names import LOG_RECORD
from traindeck.core.exchange.printed.plan import Metric
from traindeck.core.exchange.printed.reader import StdoutMetrics

__all__ = ["LOG_RECORD", "MAX_LINE", "Metric", "StdoutMetrics"]
