"""What event files say of a run's parameters and end, by TensorBoard's hparams plugin.

metadata.plugin_data { plugin_name = 1: "hparams", content = 2: HParamsPluginData }
HParamsPluginData    session_start_info = 3, session_end_info = 4
SessionStartInfo     hparams = 1: map<string, google.protobuf.Value>
SessionEndInfo       status = 1: 1 success, 2 failure, 3 running
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

from traindeck.core.base.files import reading
from traindeck.core.base.sanitize import printable
from traindeck.core.exchange import protobuf as pb
from traindeck.core.exchange.tensorboard.records import Framing, first_damaged

LOOKED_THROUGH = 64 << 20  # bytes: parameters are written before the training, or after it
TAG = b"_hparams_/session_"
START = "_hparams_/session_start_info"
PLUGIN = b"hparams"
STATES = {1: "finished", 2: "failed"}


def read_hparams(path: Path) -> tuple[dict[str, Any], str | None]:
    """The parameters that a file names, and how the run ended if it says so. Raises OSError."""
    with reading(path, follow=True) as file:
        data = file.read(LOOKED_THROUGH)
    params: dict[str, Any] = {}
    state = None
    if TAG not in data:
        return params, state
    spans = Framing().split(data).spans
    damaged = first_damaged(data, spans)
    for start, end in spans if damaged is None else spans[:damaged]:
        if data.find(TAG, start, end) < 0:
            continue
        try:
            for at, stop in pb.inside(data, start, end, 5, 1, 9, 1, 2, 3):
                params |= _params(data, at, stop)
            for at, stop in pb.inside(data, start, end, 5, 1, 9, 1, 2, 4):
                state = STATES.get(pb.integer(data, at, stop, 1), state)
        except (pb.Truncated, struct.error):
            continue
    return params, state


def _params(data: bytes, start: int, end: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for at, stop in pb.inside(data, start, end, 1):
        name = printable(pb.text(data, at, stop, 1))
        for value_at, value_stop in pb.inside(data, at, stop, 2):
            for number, kind, inner, inner_stop in pb.fields(data, value_at, value_stop):
                if (number, kind) == (2, pb.FIXED64):
                    (value,) = struct.unpack_from("<d", data, inner)
                    whole = value.is_integer() and abs(value) < 1 << 53
                    found[name] = int(value) if whole else value
                elif (number, kind) == (3, pb.BYTES):
                    found[name] = data[inner:inner_stop].decode("utf-8", "replace")
                elif (number, kind) == (4, pb.VARINT):
                    found[name] = bool(data[inner])
                elif (number, kind) == (1, pb.VARINT):
                    found[name] = None
    return found
