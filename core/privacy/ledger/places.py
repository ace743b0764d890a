"""Places that a sweep holds in a ledger for its runs to come."""

from __future__ import annotations

from collections.abc import Sequence

from traindeck.core.privacy.ledger.entries import MAX_TEXT, new_entry
from traindeck.core.privacy.ledger.ledger import Ledger
from traindeck.core.privacy.mechanism import Mechanism


def hold(
    ledger: Ledger,
    places: Sequence[str],
    recipe: str,
    mechanism: Mechanism,
    rho: float,
    epsilon: float,
    delta: float,
) -> None:
    """Reserve places in one write: all of them or none.

    places  their names, `<sweep>.<number>`; else as `Ledger.reserve`

    A place ends when a run is reserved in it, or the sweep ends. Raises what `Ledger.reserve` does.
    """
    new = [
        new_entry(
            "reserve",
            run=place,
            recipe=recipe[:MAX_TEXT],
            dataset=ledger.dataset,
            mechanism=mechanism.to_json(),
            rho=rho,
            epsilon=epsilon,
            who=None,
            delta=delta,
        )
        for place in places
    ]
    ledger.add(lambda now: new)
