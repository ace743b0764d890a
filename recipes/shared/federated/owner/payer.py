"""What a run with differential privacy costs one data owner, accounted for by the owner itself.

Every record is one owner's, and what a round tells of an owner's data is what its own update tells:
an owner pays for the rounds that its update has left in, and for no other. What has left counts, so
it is on the disk before it leaves: a round's steps are committed when its update has passed the
gate, right before it is sent. Training alone is no release, for the script is shut in: whoever is
lost while it trains, or is refused, has spent nothing for that round. An update that was paid for
and then did not get away stays paid for. What a resumed model holds counts for each owner in full:
what the owner's own ledger does not hold of it, for the runs that took it, is paid then.

The budget is that of `<data set>.<owner>`, for example `mnist.owner-2`, and binds if there is one.
An owner's data has more names than one: for the privacy of owners it is `mnist-owners.owner-2`. A
budget by either binds every run, also one that could not spend it: that is refused.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from traindeck.core.base.errors import BudgetRefused, TraindeckError
from traindeck.core.base.process import Identity
from traindeck.core.federation.privacy import OwnerPrice, OwnerPrivacy
from traindeck.core.privacy.gate import admit, check_named, ledger_of
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.origin import Inherited
from traindeck.core.privacy.plan import Plan
from traindeck.core.privacy.spending import Spending
from traindeck.recipes.shared.federated.errors import Refused
from traindeck.recipes.shared.federated.owner.policy import Policy


class Unpaid(Refused):
    """An owner's privacy budget does not admit the next round."""


def libraries(plan: Plan | None, ledgers: Path, owners: Iterable[str]) -> tuple[str, ...]:
    """What owners import to reserve, a second's work for each: to be loaded once for them all.

    Nothing where none of them has a budget.
    """
    if plan and any(Ledger(ledgers, f"{plan.dataset}.{name}").exists for name in owners):
        return "dp_accounting.pld", "dp_accounting.rdp"
    return ()


class Payer:
    """One owner's account of one run."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._earlier = Inherited(policy.done * policy.local_steps, policy.charged)
        self._spending: Spending | None = None

    def admit(self, fingerprint: str, script: str) -> None:
        """Have this owner's budget say whether a script may train here, and reserve its plan.

        fingerprint  of the owner's private arrays: the budget is that of these, and of no others

        A budget that the data of all owners has was charged where the run was launched. Of a
        private run one script is admitted, once: a second would be accounted from the start, and
        what leaves of both adds up. Raises BudgetRefused, and OSError or LedgerDamaged when a
        ledger cannot be used.
        """
        if self._spending is not None:
            raise BudgetRefused(f"{script} was admitted before: a private run has one job")
        policy = self._policy
        whole = policy.plan.dataset if policy.plan else policy.dataset
        launching = ledger_of(policy.ledgers, whole)
        charged = launching.name if launching else None
        if policy.plan is None:
            for own in self._named(fingerprint):
                if own.name != charged:
                    raise _without_privacy(own.name, script)
            return
        plan = replace(policy.plan, dataset=f"{whole}.{policy.name}")
        spending = Spending(plan, policy.ledgers, policy.run, _unheard, charged)
        spending.resumed(self._earlier.steps, charged=self._earlier.charged)
        ledger = spending.ledger
        for other in self._named():
            if other.name != charged and (ledger is None or other.name != ledger.name):
                check_named(other, plan)
        spending.use(fingerprint)
        if ledger is not None and not plan.private:
            raise _without_privacy(ledger.name, script)
        process = Identity.of(os.getpid())
        admit(ledger, policy.run, script, plan, earlier=self._earlier, who=process)
        self._spending = spending

    def _named(self, fingerprint: str | None = None) -> list[Ledger]:
        """The ledgers that this owner's data has by one of its names, or by its contents."""
        policy = self._policy
        names = [f"{data}.{policy.name}" for data in (policy.dataset, f"{policy.dataset}-owners")]
        ledgers = [ledger_of(policy.ledgers, name, fingerprint) for name in names]
        return [ledger for ledger in ledgers if ledger is not None]

    def pay(self) -> None:
        """Commit the steps of a round, before its update leaves.

        Raises Refused where it must not: Unpaid when a budget is the reason, and not, for example,
        a disk that is full.
        """
        spending = self._spending
        if self._policy.plan is None:
            return
        if spending is None:
            raise Refused("no plan was reserved")
        if not spending.step(self._policy.local_steps):
            raise Unpaid(spending.problem) if spending.refused else Refused(spending.problem)

    def settle(self, state: str) -> None:
        """Give back what was reserved and not used; state: how the owner's part has ended."""
        if self._spending is not None:
            self._spending.settle("over_budget" if self._spending.refused else state)

    def price(self) -> OwnerPrice | None:
        """What the whole plan costs, for who decides on it; None without a plan."""
        policy, plan = self._policy, self._policy.plan
        if plan is None:
            return None
        charged = own = None
        with contextlib.suppress(TraindeckError, OSError):  # of which `admit` will say more
            charged = ledger_of(policy.ledgers, plan.dataset)
            own = ledger_of(policy.ledgers, f"{plan.dataset}.{policy.name}")
        if own is not None and charged is not None and own.name == charged.name:
            own = None
        return OwnerPrice(
            unit=plan.unit,
            epsilon=_finite(plan.epsilon),
            delta=plan.delta,
            steps=plan.mechanism.steps,
            ledger=own.name if own else "",
            charged=charged.name if charged else "",
        )

    def spent(self) -> OwnerPrivacy | None:
        """What has left the owner so far, for its status; None without a plan."""
        plan, spending = self._policy.plan, self._spending
        if plan is None:
            return None
        steps = spending.steps if spending else self._earlier.steps
        ledger = spending.ledger if spending else None
        return OwnerPrivacy(
            unit=plan.unit,
            epsilon=_finite(plan.epsilon_at(steps)),
            delta=plan.delta,
            steps=steps,
            epsilon_planned=_finite(plan.epsilon),
            steps_planned=plan.mechanism.steps,
            ledger=ledger.name if ledger else "",
        )


def _without_privacy(budget: str, script: str) -> BudgetRefused:
    return BudgetRefused(
        f"{budget} has a privacy budget and {script} would train on it with no privacy: its owner"
        " takes part in private runs of a finite epsilon alone"
    )


def _unheard(released: Mechanism, epsilon: float) -> None:
    """Blocks are committed ahead; an owner shows what has left."""


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
