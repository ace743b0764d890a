"""Who of the owners takes part, who is lost and why, and who was only late and is back."""

from __future__ import annotations

from dataclasses import dataclass, field

from traindeck.core import track
from traindeck.core.base.sanitize import plain
from traindeck.core.federation.status import Coordinator, State


@dataclass
class Roster:
    """The owners of a federation. What becomes of one is shown and noted as it is learnt.

    lost         of whom nothing is expected any more: why
    gone         of the lost, whose process or script was ended from outside, in that order
    late         of the lost, who have only missed a round's end
    heard        who has said something, unasked, since the round began
    over_budget  whose privacy budget was the reason to refuse
    """

    owners: list[str]
    run: track.Run
    status: Coordinator
    lost: dict[str, str] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    heard: set[str] = field(default_factory=set)
    over_budget: set[str] = field(default_factory=set)
    _named: dict[str, str] = field(default_factory=dict)  # with which reason, in the log

    def alive(self) -> list[str]:
        """Who is not lost."""
        return [name for name in self.owners if name not in self.lost]

    def lose(self, name: str, why: str, state: State = "lost") -> None:
        """Expect nothing of an owner any more; state: lost or refused."""
        if name in self.late:  # and is lost for good now
            self.late.remove(name)
            del self.lost[name]
        if name not in self.lost:
            self.lost[name] = why
            self.run.note(f"{name} is {state}: {why}")
            self.status.owner(name, state, why)

    def miss(self, name: str, why: str) -> None:
        """Go on without an owner that is late; once it is heard of it is asked again."""
        if name not in self.lost:
            self.lose(name, why)
            self.late.add(name)

    def begin(self, number: int) -> list[str]:
        """Who is asked in a round: all but the lost, of whom the late are back once heard of."""
        for name in sorted(self.late & self.heard):
            self.late.remove(name)
            del self.lost[name]
            self.run.note(f"{name} is back: it is asked again from round {number} on")
            self.status.owner(name, "waiting", "it was late")
        self.heard.clear()
        return self.alive()

    def reasons(self) -> str:
        """Why each of the lost is lost, in brackets, to be added to a sentence."""
        reasons = [f"{name}: {why}" for name, why in self.lost.items()]
        return f" ({'; '.join(reasons)})" if reasons else ""

    def named(self, lost: list[str]) -> str:
        """These owners, for a line of the log; the first time with the reason for each."""
        names = []
        for name in lost:
            why = self.lost.get(name, "")
            new = why and self._named.get(name) != why
            names.append(f"{name} ({plain(why, 400)})" if new else name)
            self._named[name] = why
        return ", ".join(names)
