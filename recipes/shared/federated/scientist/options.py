"""What a federation is asked to be, and what is seen of it beforehand.

Nothing here imports syft or reads data: who asks for what cannot be is told at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from traindeck.core import track
from traindeck.core.privacy.origin import Charged
from traindeck.core.privacy.plan import Plan
from traindeck.recipes.shared.federated.errors import Unfit

FEWEST_MASKED = 3


@dataclass
class Options:
    """How a federation works.

    aggregation    one of `modes.MODES`; 'mpc': jobs compute on shares among themselves
    approval       'auto' or 'hand', see `policy.Policy`
    rounds         how many at the most; threshold: owners that must answer (0: more than half; with
                   noise two thirds)
    clip           L2 norm that each owner clips its update to
    noise          standard deviation of the Gaussian noise in the sum of clipped updates, of which
                   each owner adds a share: those of all but one of the fewest whose sum an
                   aggregator can open suffice
    count_noise    likewise, of that on the count of updates that were not clipped; None: the norm
                   that updates are clipped to stays. Else clip and noise are in units of the
                   round's norm
    plan           what the run may release, by which each owner accounts for itself; None: no
                   differential privacy. local_steps: its steps in a round; done: rounds that a
                   resumed model holds already; charged: the runs that took them, with their steps
    round_seconds  time limit of a round; approval_seconds: of the answers to the job
    encrypt        False only to show what could then be read; keep: keep all messages
    preload        modules that owners share in memory
    ports          TCP ports of this machine that jobs may use among themselves; tls: certificate
                   and key (PEM) that they do it with
    """

    aggregation: str = "secagg"
    approval: str = "auto"
    rounds: int = 1
    threshold: int = 0
    clip: float = 10.0
    noise: float = 0.0
    count_noise: float | None = None
    plan: Plan | None = None
    local_steps: int = 1
    done: int = 0
    charged: Charged = ()
    round_seconds: float = 120.0
    approval_seconds: float = 86400.0
    encrypt: bool = True
    keep: bool = False
    preload: tuple[str, ...] = ("syft_rds", "numpy")
    ports: list[int] = field(default_factory=list)
    tls: dict[str, str] | None = None


def threshold(options: Options, owners: int, run: track.Run, *, sums: bool = True) -> int:
    """How many of the owners must answer. sums: whether updates are added up. Raises Unfit."""
    if options.approval == "hand" and run.folder is None:
        raise Unfit("approval: a script is read in a run's folder: start it by `traindeck run`")
    if sums and options.aggregation in ("secagg", "ckks") and owners < FEWEST_MASKED:
        raise Unfit(
            f"owners: {options.aggregation} needs {FEWEST_MASKED}, not {owners}:"
            " in a sum of fewer, one knows another's part"
        )
    usual = -(-2 * owners // 3) if options.noise else owners // 2 + 1
    least = options.threshold or usual
    if not owners / 2 < least <= owners:
        raise Unfit(f"threshold: {least} of {owners} owners; more than half of them is needed")
    return least
