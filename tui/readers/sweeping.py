"""What the form of a sweep asks of core. All of it reads files: for threads only."""

from __future__ import annotations

from dataclasses import dataclass, replace

from traindeck.core.base.errors import TraindeckError
from traindeck.core.base.home import Home
from traindeck.core.sweeps.begin import begin, check_installed, priced
from traindeck.core.sweeps.study import SweepFolder, SweepRequest
from traindeck.tui.settings import read_settings


@dataclass(frozen=True, slots=True)
class SweepPrice:
    """What is known of a sweep before it begins.

    lines    its price in words, as `traindeck sweep` prints it, or that nothing is accounted for
    refused  why it cannot begin as it stands; empty when it can
    """

    lines: tuple[str, ...] = ()
    refused: str = ""


def price(home: Home, request: SweepRequest) -> SweepPrice:
    """What a sweep would cost, and whether it can be. Takes seconds for a private one."""
    try:
        check_installed()
        costs = priced(home, request)
    except (TraindeckError, OSError, ValueError) as error:
        return SweepPrice(refused=str(error))
    if costs is None:
        return SweepPrice(("not private: no budget is charged",))
    refused = ""
    if not costs.admitted:
        refused = f"the budget of {costs.budget} admits {costs.fits or 'none'} of its runs"
    return SweepPrice(tuple(costs.lines()), refused)


def start(home: Home, request: SweepRequest) -> SweepFolder:
    """Begin a sweep. Raises TraindeckError and OSError."""
    check_installed()
    return begin(home, replace(request, grace=read_settings(home.settings).grace))
