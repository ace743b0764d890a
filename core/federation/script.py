"""A script that waits for a data owner's hand, as it is read to be judged.

Whoever asks chose the contents, so that a script may hold anything: what could deceive is said.
"""

from __future__ import annotations

import difflib
import hashlib
import io
import json
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.files import read_bounded
from traindeck.core.base.sanitize import plain, spelled
from traindeck.core.federation.inbox import MAX_SCRIPT, SCRIPT, ScriptRequest, read_params

MAX_DIFF_LINES = 3000
"""Longer scripts are not compared: that takes time by the square of their length."""


@dataclass(frozen=True, slots=True)
class Script:
    """What a request wants to run, as it was read.

    data      the bytes of the script; `params_data` those of its parameters
    text      of the script, spelled out (`sanitize.spelled`)
    params    spelled out as well
    diff      lines of the unified diff against the agreed script; None without one
    note      why there is no diff
    warnings  what whoever judges it should know, one sentence each
    """

    request: ScriptRequest
    data: bytes
    sha256: str
    params_data: bytes
    params_sha256: str
    text: str
    params: str
    diff: tuple[str, ...] | None
    note: str
    warnings: tuple[str, ...]


def read_script(request: ScriptRequest) -> Script:
    """Read what is to be judged. Raises OSError, also for a script too long to be read."""
    data = read_bounded(request.folder / SCRIPT, MAX_SCRIPT)
    params = read_params(request)
    sha256 = hashlib.sha256(data).hexdigest()
    text = spelled(data.decode("utf-8", "backslashreplace"))
    diff, note = _diff(request, text)
    return Script(
        request,
        data,
        sha256,
        params,
        hashlib.sha256(params).hexdigest(),
        text,
        spelled(_pretty(params)),
        diff,
        note,
        tuple(_warnings(request, data, sha256, text)),
    )


def _pretty(params: bytes) -> str:
    """Parameters one a line; as they are when they are not JSON."""
    text = params.decode("utf-8", "backslashreplace")
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _diff(request: ScriptRequest, text: str) -> tuple[tuple[str, ...] | None, str]:
    """The unified diff against the agreed script; else why there is none."""
    if request.agreed is None:
        return None, "no script was agreed on beforehand"
    try:
        data = read_bounded(Path(request.agreed), MAX_SCRIPT, follow=True)
    except (OSError, ValueError) as error:
        return None, f"the agreed script cannot be read: {error}"
    agreed = spelled(data.decode("utf-8", "backslashreplace")).splitlines()
    lines = text.splitlines()
    if max(len(agreed), len(lines)) > MAX_DIFF_LINES:
        return None, f"too long to be compared: more than {MAX_DIFF_LINES:,} lines"
    return tuple(difflib.unified_diff(agreed, lines, "agreed", "submitted", lineterm="")), ""


def _warnings(request: ScriptRequest, data: bytes, sha256: str, text: str) -> Iterator[str]:
    if request.sha256 != sha256:
        yield "this is not the script that was asked for: the request names another SHA-256"
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    except SyntaxError:
        encoding = "an encoding that Python does not know"
    if encoding not in ("utf-8", "utf-8-sig"):
        yield f"it declares {plain(encoding)}: Python may read other text than is shown here"
    if text.count("‹U+"):
        yield f"characters that cannot be seen are spelled out, {text.count('‹U+')} of them"
    odd = [number for number, line in enumerate(text.splitlines(), 1) if not line.isascii()]
    if odd:
        some = ", ".join(map(str, odd[:8])) + (", …" if len(odd) > 8 else "")
        yield f"letters that are not ASCII may look like others: line {some}"
