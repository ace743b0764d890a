"""Which rank printed a line: by a launcher's prefix, a field, or a number at its head."""

from __future__ import annotations

import re

from traindeck.core.exchange.printed.numbers import MARK

MOST = 1 << 16  # ranks are below it
_HELD = 8  # lines that wait for the number at their head to be understood

_WORDS = r"(?:default|rank|local_rank|global_rank|worker|process|gpu|replica)"
_PREFIX = re.compile(
    rf"^\W{{0,3}}(?:\[?\s*{_WORDS}[ _:=]*(?P<word>\d+)\s*\]?\s*:?"
    r"|\[\d+,(?P<mpi>\d+)\]<std(?:out|err)>:)",
    re.IGNORECASE,
)
_INSIDE = re.compile(r"(?i)[\[(\s|,](?:local_)?rank[ _:=]*(?P<word>\d+)\s*[\])|,:\s]")
_LAUNCHER = re.compile(
    rf"\[{MARK},{MARK}\]<std(?:out|err)>:\s*|\[{_WORDS}[ _:=]*(?:\d+|{MARK})\]\s*:?\s*",
    re.IGNORECASE,
)
# rank: 1   rank=1   Rank 1/8,   [worker 1]
_FIELD = re.compile(
    rf"(?:^|[\[(|,;:\]{MARK}]\s*)(?:(?:global_|local_)?rank\s*[:=#]?\s*(?P<rank>{MARK})"
    rf"|(?<=\[){_WORDS}[ _:=]*(?P<word>{MARK})(?=\])|\[{MARK},(?P<mpi>{MARK})\]<std)",
    re.IGNORECASE,
)


def rank_of(line: str) -> int | None:
    """The rank that a line says it is from, by a launcher's prefix or in its text."""
    head = line[:60]
    if "rank" in head.lower() or "default" in head or "<std" in head or "orker" in head:
        match = _PREFIX.match(head)
        if match:
            return int(match["word"] or match["mpi"])
        match = _INSIDE.search(line[:120])
        if match:
            return int(match["word"])
    return None


def rank_place(shape: str) -> int | None:
    """The place of the number that is the rank of a shape's lines."""
    match = _FIELD.search(shape[:300])
    if match is None:
        return None
    return shape.count(MARK, 0, max(match.start(name) for name in ("rank", "word", "mpi")))


def launcher(shape: str) -> int:
    """How long the prefix is that a launcher has put before a line."""
    match = _LAUNCHER.match(shape)
    return match.end() if match else 0


class Labels:
    """Whether the number at the head of lines that name their step is a rank: ``1: step 20 …``.

    It is where two of them have a step in common, and is not where it grows with the step. Until
    that is seen, lines of others than 0 wait.
    """

    def __init__(self) -> None:
        self._ranks: bool | None = None
        self._last: tuple[int, float] | None = None
        self._held: list[tuple[int, list[str]]] = []

    def take(self, label: int, step: float, numbers: list[str]) -> list[tuple[int, list[str]]]:
        """The lines that can be taken now, with their ranks."""
        last, self._last = self._last, (label, step)
        if self._ranks is None and last is not None and last[0] != label:
            self._ranks = not (label > last[0] and step > last[1])
        if self._ranks is None and label and len(self._held) < _HELD:
            self._held.append((label, numbers))
            return []
        if self._ranks is None and label:
            self._ranks = False
        return [*self.rest(), (label if self._ranks else 0, numbers)]

    def rest(self) -> list[tuple[int, list[str]]]:
        """The lines that wait, as they are understood now."""
        held, self._held = self._held, []
        return [(label if self._ranks else 0, numbers) for label, numbers in held]
