"""`traindeck audit`: a run's claimed epsilon beside what was measured of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import typer

from traindeck.core.base.errors import FAILED, TraindeckError
from traindeck.tui.commands.output import AS_JSON, print_json, say

if TYPE_CHECKING:
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.privacy.audit.result import AuditResult
    from traindeck.core.privacy.report import RunPrivacy
    from traindeck.core.privacy.risk import Risk

RUN = typer.Argument(help="An id or its unique start, a name, or @last.", metavar="ID")
WIDTH = 60
MARGIN = 1.08  # of the axis beyond the larger bound

_SAYS = {
    "consistent": "consistent: these canaries show no more than is claimed. That is no proof:"
    " another attack may show more",
    "violated": "VIOLATED: the run gives away more than it claims; do not rely on its epsilon",
}


def register(app: typer.Typer) -> None:
    app.command("audit")(audit)


def audit(
    ref: Annotated[str, RUN],
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Measure how much a run gave away, and hold it against the epsilon it claims.

    Exits 1 when the measured lower bound is above the claim: the run is then quarantined. Exits 3
    when the run did not train with canaries (-p audit=true).
    """
    from traindeck.core.audit import audit_run, claim_of, record
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library
    from traindeck.core.privacy.risk import risk

    home = Home.default()
    doc = Library(home).find(ref, metrics=False)
    privacy = claim_of(doc)
    result = audit_run(doc, privacy)
    at_stake = None  # what a claim says of the risk holds only as long as the claim does
    if not (result.violated or privacy.label):
        at_stake = risk(privacy.events)
    try:
        record(home, doc, privacy, result)
    except (OSError, TraindeckError) as error:
        say(f"warning: the verdict could not be recorded: {error}")
    if as_json:
        as_said = at_stake.to_json() if at_stake else None
        print_json({"run": doc["id"], "audit": result.to_json(), "risk": as_said})
    else:
        _print(doc, privacy, result, at_stake)
    if result.violated:
        raise typer.Exit(FAILED)


def _print(doc: RunDoc, privacy: RunPrivacy, result: AuditResult, risk: Risk | None) -> None:
    from traindeck.core.base.sanitize import plain
    from traindeck.core.privacy.audit.result import POWER
    from traindeck.core.privacy.bounds import at_least
    from traindeck.core.privacy.report import sampling

    print(f"{doc['id']}  {plain(doc['name'])}")
    print()
    for line in interval(result):
        print(f"  {line}")
    print()
    measured = (
        f"epsilon {at_least(result.lower)} at least, with {result.confidence:.0%} confidence:"
        f" {result.correct} of {result.guesses} guesses about {result.canaries} canaries right"
    )
    steps = privacy.steps
    facts = {
        "claimed": f"{_claim(result)} at delta {result.delta:g}, of one {privacy.unit}"
        f" ({privacy.relation}), {sampling(privacy)}; {privacy.accountant}",
        "measured": measured,
        "by": result.method,
        "general": f"epsilon {at_least(result.lower_general)} at least, whatever the mechanism:"
        f" {result.method_general}",
        "steps": f"the canaries saw {result.steps} of {steps}" if result.steps != steps else "",
        "label": privacy.label,
        "risk": risk.sentence if risk else "",
        "verdict": _SAYS[result.verdict],
        "sees": "" if result.violated else POWER,
    }
    for key, value in facts.items():
        if value:
            print(f"  {key:<9} {plain(value, 400)}")


def interval(result: AuditResult, width: int = WIDTH) -> list[str]:
    """Both bounds on one axis of epsilon, `width` characters between its ends.

    Shaded in between is what neither the proof nor the measurement excludes; solid is what
    contradicts itself, a measurement above the claim.
    """
    from traindeck.core.privacy.bounds import at_least, at_most

    marks = [(result.lower, f"measured, at least {at_least(result.lower)}")]
    if math.isfinite(result.claimed):
        marks.append((result.claimed, f"claimed, at most {at_most(result.claimed)}"))
    marks.sort(key=lambda mark: mark[0])
    end = max(marks[-1][0], 1e-3) * MARGIN
    places = [round(value / end * (width - 1)) for value, _ in marks]
    cells = ["─"] * width
    if len(places) == 1:
        places.append(width)
    between = slice(places[0], places[1])
    cells[between] = ("█" if result.violated else "▒") * len(cells[between])
    for place in places[: len(marks)]:
        cells[place] = "●"
    finite = math.isfinite(result.claimed)
    claim = f"{end:.3g}" if finite else "no bound is claimed"
    lines = [f"0 {'├'}{''.join(cells)}{'┤' if finite else '▷'} {claim}"]
    left = places[0] + 3
    if len(marks) == 2:
        gap = places[1] - places[0]
        stem = " " * left + ("│" + " " * (gap - 1) if gap else "")
        lines.append(f"{stem}└ {marks[1][1]}")
    lines.append(f"{' ' * left}└ {marks[0][1]}")
    return lines


def _claim(result: AuditResult) -> str:
    from traindeck.core.privacy.bounds import at_most

    if math.isfinite(result.claimed):
        return f"epsilon {at_most(result.claimed)} at most"
    return "no bound on epsilon"
