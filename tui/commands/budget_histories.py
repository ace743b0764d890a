"""`traindeck budget export`, `import`: what was spent, for other libraries and from them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from traindeck.core.base.errors import NotFoundError, UsageError
from traindeck.tui.commands.output import print_json, say, tell

MOST_BYTES = 16 << 20


def export(
    name: Annotated[str, typer.Argument(help="A data set that has a budget.")],
    form: Annotated[
        str,
        typer.Option("--as", help="dp-accounting, opacus, opacus-prv or zcdp; else all of it."),
    ] = "",
) -> None:
    """Print a budget and its whole history as JSON, or what was released as others account it."""
    from traindeck.core.base.home import Home
    from traindeck.core.privacy.budget_state import describe
    from traindeck.core.privacy.histories import WRITTEN, written
    from traindeck.core.privacy.ledger.ledgers import named, shown_entries

    if form not in ("", *WRITTEN):
        raise UsageError(f"as: {form!r} is none; it is written as {', '.join(WRITTEN)}")
    home = Home.default()
    ledger = named(home.ledger, name)
    if form:
        account = ledger.account()
        finite = not account.exposed and not any(run.quarantined for run in account.runs)
        events = [run.mechanism.with_steps(run.released) for run in account.runs]
        print_json(written(events, form, finite))
        return
    state = describe(home, ledger)
    history = shown_entries(ledger.folder, ledger.history())
    print_json({**state.to_json(), "history": history})


def bring(
    name: Annotated[str, typer.Argument(help="The data set that was trained on.")],
    file: Annotated[
        Path, typer.Argument(help="JSON: an Opacus state_dict or a dp-accounting event.")
    ],
    form: Annotated[
        str, typer.Option("--format", help="opacus or dp-accounting; else it is seen.")
    ] = "",
    unit: Annotated[str, typer.Option(help="Whose privacy its noise was for.")] = "example",
    run: Annotated[
        str, typer.Option("--run", help="Its name, where another had the very same history.")
    ] = "",
    released: Annotated[
        bool, typer.Option("--already-released", help="Charge it even where it does not fit.")
    ] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why, for the ledger.")] = "",
) -> None:
    """Charge a run that was made elsewhere, by what its library's accountant wrote down."""
    from traindeck.core.base.files import read_bounded
    from traindeck.core.base.home import Home
    from traindeck.core.base.sanitize import plain
    from traindeck.core.privacy import imports
    from traindeck.core.privacy.bounds import at_most, percent
    from traindeck.core.privacy.histories import READ, read
    from traindeck.core.privacy.ledger.ledgers import ledgers, named

    if form not in ("", *READ):
        raise UsageError(f"format: {form!r} is none that is read; these are: {', '.join(READ)}")
    ledger = named(Home.default().ledger, name)
    try:
        data = read_bounded(file, MOST_BYTES, follow=True)
    except FileNotFoundError:
        raise NotFoundError(f"{file}: there is no such file") from None
    history = read(data, form)
    called = plain(file.name)
    runs = imports.charge(
        ledger, history, data, called, unit=unit, name=run, beyond=released, why=reason
    )
    account = ledger.account()
    for one in (each for each in account.runs if each.id in runs):
        how = f"{one.reserved:,} steps, noise {one.mechanism.noise_multiplier:g}"
        share = f": {percent(one.divergence / account.rho_budget)}" if account.rho_budget else ""
        tell(
            f"{one.id}: {how}, rate {one.mechanism.sampling_rate:.4g}, epsilon"
            f" {at_most(one.epsilon, 4)}{share} of the budget of {account.name}"
        )
    for part in (each.name for each in ledgers(ledger.folder)):
        if part.startswith(f"{ledger.name}."):
            say(f"{part} has a budget of its own: import it there as well")
    if account.rho_left < 0:
        tell(f"the budget of {account.name} is overdrawn: it admits nothing more")
