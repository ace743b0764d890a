"""What an epsilon means for one person: how well an attacker could find out who is in the data.

The attacker is the strongest that differential privacy speaks of: sees all that was released, knows
every other record, and asks of one record whether it was in. The figures are bounds, taken from the
whole privacy loss distribution: from (epsilon, delta) alone they would be far looser (at epsilon
2.93 and delta 1e-5, 19 in 100 where the truth is at most 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from traindeck.core.base import tolerant
from traindeck.core.privacy.bounds import at_most, or_null
from traindeck.core.privacy.mechanism import Mechanism

FALSE_ACCUSATIONS = (0.001, 0.01, 0.1)
"""The false positive rates that are looked at; the sentence speaks of the second."""
_SPOKEN = 0.01
FIXED_IN_ADVANCE = "had the schedule been fixed in advance"
"""What a risk of several runs together supposes: the filter's order alone gives no such curve."""
HARDLY_MORE = 1.1
"""Members in 100; guessing finds 1."""


@dataclass(frozen=True, slots=True)
class Risk:
    """Bounds that hold for every attack on membership.

    members    at each rate of false accusations, the largest share of members that can be found
    advantage  the most by which the one can exceed the other, at any rate
    sentence   the same for people
    """

    members: tuple[tuple[float, float], ...]
    advantage: float
    sentence: str

    def to_json(self) -> dict[str, Any]:
        return {
            "found": [{"false_accusations": fpr, "members": tpr} for fpr, tpr in self.members],
            "advantage": or_null(self.advantage),
            "sentence": self.sentence,
        }

    @classmethod
    def from_json(cls, data: object) -> Risk:
        """Read what `to_json` wrote, now or in an earlier version; what is odd is left out."""
        known = data if isinstance(data, dict) else {}
        rates = (
            (tolerant.real(each.get("false_accusations")), tolerant.real(each.get("members")))
            for each in tolerant.records(known.get("found"), tolerant.MOST)
        )
        members = tuple((fpr, tpr) for fpr, tpr in rates if fpr is not None and tpr is not None)
        advantage = tolerant.number(known.get("advantage"))
        return cls(members, advantage, tolerant.text(known.get("sentence")))


def risk(mechanisms: Iterable[Mechanism]) -> Risk:
    """The risk from all these releases together: none where there are none, all without noise.

    Costs some 0.1 s, and most of a second when the accountant must be imported first.
    """
    released = [one for one in mechanisms if one.releases]
    if not released:
        return _risk({fpr: fpr for fpr in FALSE_ACCUSATIONS}, 0.0)
    if any(one.noise_multiplier == 0 for one in released):
        return _risk(dict.fromkeys(FALSE_ACCUSATIONS, 1.0), 1.0)
    from traindeck.core.privacy.audit.roc import Roc

    roc = Roc.of(released)
    return _risk({fpr: roc.tpr(fpr) for fpr in FALSE_ACCUSATIONS}, roc.advantage)


def _risk(members: dict[float, float], advantage: float) -> Risk:
    return Risk(tuple(members.items()), advantage, in_words(members[_SPOKEN]))


def in_words(share: float) -> str:
    """What it means that this share of members can be found with 1 false accusation in 100.

    It is said of 100 members, in two digits, rounded up.
    """
    if share >= 1:
        return "nothing limits what an attacker finds out about who is in the data"
    members = 100 * share
    if math.ceil(members) >= 100:
        return "an attacker allowed 1 false accusation in 100 may find every member"
    counted = at_most(members, 2)
    sentence = (
        "an attacker allowed 1 false accusation in 100 finds at most"
        f" {counted} member{'' if counted == '1' else 's'} in 100"
    )
    return sentence + (", hardly more than by guessing" if members <= HARDLY_MORE else "")
