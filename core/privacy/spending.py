"""A private run pays for its steps before it takes them.

Steps are committed to the data set's ledger, on disk, before their noise is released: whatever
crashes afterwards, they stay paid for. That is done in blocks of about BLOCK_SECONDS, so that it
costs next to nothing; what was committed and not used is given back when the run ends by itself.

Standard library only until the run ends: recipes import this.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from traindeck.core.base.errors import BudgetRefused, TraindeckError
from traindeck.core.base.files import read_json
from traindeck.core.base.process import Identity
from traindeck.core.privacy.gate import admit, check_named, ledger_of
from traindeck.core.privacy.mechanism import Mechanism
from traindeck.core.privacy.origin import Charged, Inherited, Origin, read, seal
from traindeck.core.privacy.plan import Plan

if TYPE_CHECKING:
    from traindeck.core.privacy.ledger.ledger import Ledger

BLOCK_SECONDS = 1.0
LONGEST_BLOCK = 1000
MOST_BLOCKS = 200  # of a whole plan: a ledger stays short, and a crash costs half a percent

Tell = Callable[[Mechanism, float], None]
"""Is told what has been committed so far and an upper bound on its epsilon."""


class Spending:
    """The steps of one private run.

    plan     what the run may spend at most
    ledgers  the folder of all ledgers
    run      the run's id, by which the data set's ledger knows its reservation; without a ledger
             steps are only told, not paid for
    charged  a ledger that somebody else charges for these steps: they are not paid for again
    recipe   for people to read
    """

    def __init__(
        self,
        plan: Plan,
        ledgers: Path,
        run: str,
        tell: Tell,
        charged: str | None = None,
        recipe: str = "",
    ) -> None:
        self.plan = plan
        self.run = run
        self.recipe = recipe or run
        self.problem = ""
        self.refused = False  # whether the problem is that no budget admits the step
        self._ledgers = ledgers
        self._charged = charged
        ledger = ledger_of(ledgers, plan.dataset)
        self._ledger = None if ledger is not None and ledger.name == charged else ledger
        self._gone = ""
        if self._ledger is None:  # as it was when the run was launched?
            spec = read_json(ledgers.parent / "runs" / run / "run.json") or {}
            self._gone = str(spec.get("ledger") or "")
        self._tell = tell
        self._fingerprint = self._data = ""
        self._earlier = 0
        self._paid: Charged = ()
        self._owed = 0  # of the earlier steps, those that nobody was charged for
        self._spent = 0
        self._committed = 0
        self._committed_at = 0.0
        self._last_block = 1
        self._closed = False
        self._process = os.getpid()

    @property
    def ledger(self) -> Ledger | None:
        """What the steps are paid from."""
        return self._ledger

    @property
    def steps(self) -> int:
        """Steps that the model holds so far, those of an earlier run among them."""
        return self._earlier + self._spent

    @property
    def inherited(self) -> int:
        """Steps of earlier runs that the model holds already."""
        return self._earlier

    def resumed(self, steps: int, checkpoint: Path | None = None, charged: Charged = ()) -> Charged:
        """Count the steps of earlier runs: the model has learned from them too.

        checkpoint  whose origin says who was charged for them; else `charged` does

        What the ledger does not hold for these runs is paid with the first step. Returns the runs
        that the origin names.
        """
        home = self._ledgers.parent
        if checkpoint is not None and (origin := read(checkpoint, home)):
            charged = origin.charged
        self._earlier, self._paid = steps, charged
        if self._ledger is not None and charged:
            account = self._ledger.account()
            self._paid = Inherited(steps, charged).paid(account, self.plan.mechanism)
        self._owed = max(0, steps - sum(steps for _, steps in self._paid))
        return charged

    def seal(self, checkpoint: Path) -> None:
        """Say where a checkpoint of the model as it is now comes from. Raises OSError."""
        own = (self.run, self._owed + self._spent)
        origin = Origin(
            self.run,
            self.recipe,
            self.plan.dataset,
            self._data,
            self._released(self._spent),
            (*self._paid, own),
        )
        seal(checkpoint, origin, self._ledgers.parent)

    def use(self, fingerprint: str) -> None:
        """Tell the ledger which data this is: sha256 of its contents, in hexadecimal.

        Raises BudgetRefused when the ledger's data set is another one.
        """
        from traindeck.core.privacy.ledger.ledgers import keyed, pin

        self._fingerprint = fingerprint
        self._data = keyed(self._ledgers, fingerprint)
        if self._ledger is not None:
            pin(self._ledger, fingerprint)
            return
        other = ledger_of(self._ledgers, self.plan.dataset, fingerprint)
        if other is not None and other.name != self._charged:
            check_named(other, self.plan)

    def step(self, count: int = 1) -> bool:
        """Pay for the next steps; False, with `problem` set, when none of them may be taken."""
        if self._closed:  # what was left of the last block has been given back
            self.problem = "the run has been closed: it may spend no more"
            return False
        if os.getpid() != self._process:  # its steps would be paid for once and taken twice
            self.problem = "only the process that began the run may spend, not one forked of it"
            return False
        if self._spent + count > self._committed and not self._commit(count):
            return False
        self._spent += count
        return True

    def settle(self, state: str) -> None:
        """Give back what was committed and not used: nothing more may be spent."""
        if self._closed:
            return
        self._closed = True
        if self._ledger is not None:
            try:
                self._ledger.settle(self.run, state, self._owed + self._spent)
            except (OSError, TraindeckError) as error:
                self.problem = f"what was not used could not be given back: {error}"

    def close(self, state: str) -> None:
        """Settle, and tell the exact epsilon of what was used."""
        if self._closed:
            return
        self.settle(state)
        mechanism = self._released(self._spent)
        if mechanism.steps:
            from traindeck.core.privacy import accountant

            self._tell(mechanism, accountant.epsilon([mechanism], self.plan.delta))

    def _commit(self, count: int) -> bool:
        left = self.plan.mechanism.steps - self._earlier
        steps = min(self._spent + max(self._block(), count), left)
        if steps < self._spent + count:
            self.problem = f"all {self.plan.mechanism.steps} steps of the plan are spent"
            self.refused = True
            return False
        plan = self.plan.mechanism
        if plan.sampler == "shuffle" and self._earlier % plan.pass_steps:
            self.problem = (
                f"a shuffled run goes on at the end of a pass only, every {plan.pass_steps} steps,"
                f" not after step {self._earlier}: records that the checkpoint has learned from in"
                " this pass would be taken again in it"
            )
            self.refused = True
            return False
        if self._earlier % plan.bands:
            self.problem = (
                f"a run with noise in {plan.bands} bands goes on after a multiple of so many steps"
                f" only, not after step {self._earlier}: it draws new noise and divides the records"
                " anew, and one that was drawn in this cycle could be drawn in it again"
            )
            self.refused = True
            return False
        if self._gone:
            self.problem = f"the ledger of {self._gone}, in which the run is reserved, is gone"
            self.refused = True
            return False
        if self._ledger is None:
            # Before looking for a budget: who makes one looks for us when it has made it.
            self._hear(steps)
        try:
            self._join()
            if self._ledger is not None:
                self._ledger.commit(self.run, self._owed + steps, self.plan.mechanism)
        except BudgetRefused as error:
            self.problem, self.refused = str(error), True
            return False
        except (OSError, TraindeckError) as error:
            self.problem = f"the ledger cannot be written: {error}"
            return False
        self._committed = steps
        self._committed_at = time.monotonic()
        if self._ledger is not None:
            self._hear(steps)
        return True

    def _hear(self, steps: int) -> None:
        released = self._released(steps)
        self._tell(released, self.plan.epsilon_at(released.steps))

    def _join(self) -> None:
        """Spend from a budget that was made since: all steps so far count. Raises BudgetRefused."""
        if self._ledger is not None or self._charged is not None:
            return
        ledger = ledger_of(self._ledgers, self.plan.dataset, self._fingerprint or None)
        if ledger is None:
            return
        check_named(ledger, self.plan)
        if not any(run.id == self.run for run in ledger.account().runs):
            admit(ledger, self.run, self.recipe, self.plan, who=Identity.of(self._process))
        self._ledger, self._owed, self._paid = ledger, self._earlier, ()
        if self._fingerprint:
            self.use(self._fingerprint)

    def _block(self) -> int:
        """How many steps to commit at once: by how long those of the last block took."""
        if not self._committed:
            return 1
        seconds = max(time.monotonic() - self._committed_at, 1e-6)
        wanted = int(self._last_block * BLOCK_SECONDS / seconds)
        self._last_block = max(1, min(wanted, 8 * self._last_block, LONGEST_BLOCK))
        least = math.ceil(self.plan.mechanism.steps / MOST_BLOCKS)
        return max(least, self._last_block)

    def _released(self, steps: int) -> Mechanism:
        return self.plan.mechanism.with_steps(self._earlier + steps)
