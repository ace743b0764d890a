"""`traindeck owners`, `approve`, `refuse`: the owners of a federated run, and their answers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.core.base.errors import NotFoundError, TraindeckError, UsageError
from traindeck.tui.commands.output import AS_JSON, ascii_number, print_json, print_table, say

if TYPE_CHECKING:
    from traindeck.core.catalogue.document import RunDoc
    from traindeck.core.federation.inbox import ScriptRequest
    from traindeck.core.federation.script import Script
    from traindeck.core.federation.status import FederationStatus, OwnerStatus

RUN = typer.Argument(help="An id or its unique start, a name, or @last.", metavar="ID")
OWNER = typer.Argument(help="The owner's name.", metavar="OWNER")
JOB = typer.Option(help="Which request, where several wait.")
SHORTEST_HASH = 12
"""So many characters of a SHA-256 say which script is meant."""


def register(app: typer.Typer) -> None:
    for command in (owners, approve, refuse):
        app.command(command.__name__)(command)


def owners(
    ref: Annotated[str, RUN],
    script: Annotated[
        str | None,
        typer.Option(
            help="Print the script that waits at this owner, its parameters and what differs from"
            " the agreed one.",
            metavar="OWNER",
        ),
    ] = None,
    job: Annotated[str | None, JOB] = None,
    as_json: Annotated[bool, AS_JSON] = False,
    private: Annotated[
        bool,
        typer.Option("--private", help="What owners computed from their data too: loss, facts."),
    ] = False,
) -> None:
    """List the owners of a federated run: state, data, bytes that left them, what waits.

    With --script the script alone is on stdout: its bytes to a pipe, made harmless to a terminal.
    """
    doc, federation = _federated(ref)
    if script is not None:
        _print_script(_waiting(doc, script, job), as_json)
        return
    if as_json:
        print_json({"run": doc["id"], **federation.to_json(private=private)})
        return
    _print_owners(federation, private)


def approve(
    ref: Annotated[str, RUN],
    owner: Annotated[str, OWNER],
    job: Annotated[str | None, JOB] = None,
    sha256: Annotated[
        str | None,
        typer.Option(help="Only if this is the script's SHA-256, or its first 12 characters."),
    ] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Approve the script that waits at an owner; `traindeck owners ID --script OWNER` shows it."""
    from traindeck.core.base.sanitize import plain
    from traindeck.core.federation.inbox import APPROVE, decide
    from traindeck.core.federation.script import read_script

    doc, _ = _federated(ref)
    request = _waiting(doc, owner, job)
    script = read_script(request)
    if sha256 is not None:
        if len(sha256) < SHORTEST_HASH:
            raise UsageError(f"--sha256 needs at least {SHORTEST_HASH} characters of the hash")
        if not script.sha256.startswith(sha256.lower()):
            raise TraindeckError(
                f"not approved: the SHA-256 of {plain(request.script)} is {script.sha256},"
                f" not {plain(sha256)}"
            )
    for warning in script.warnings:
        say(f"warning: {warning}")
    decide(request, APPROVE, sha256=script.sha256, params_sha256=script.params_sha256)
    _print_decision(doc, request, "approved", script.sha256, as_json)


def refuse(
    ref: Annotated[str, RUN],
    owner: Annotated[str, OWNER],
    reason: Annotated[str, typer.Option(help="Why; the scientist reads it.")],
    job: Annotated[str | None, JOB] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Refuse the script that waits at an owner, with the reason."""
    from traindeck.core.federation.inbox import REFUSE, decide
    from traindeck.core.federation.script import read_script

    if not reason.strip():
        raise UsageError("--reason must say why")
    doc, _ = _federated(ref)
    request = _waiting(doc, owner, job)
    try:
        sha256 = read_script(request).sha256
    except OSError:  # what cannot be read can all the more be refused
        sha256 = request.sha256
    decide(request, REFUSE, sha256=sha256, reason=reason.strip())
    _print_decision(doc, request, "refused", sha256, as_json)


def _federated(ref: str) -> tuple[RunDoc, FederationStatus]:
    """The run and its federation. Raises NotFoundError when it has none."""
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library
    from traindeck.core.federation.reader import read_federation
    from traindeck.core.run.state import ENDED

    doc = Library(Home.default()).find(ref, metrics=False)
    federation = read_federation(Path(doc["path"]))
    if federation and doc["state"] in ENDED:
        federation = federation.over()
    if federation is None:
        raise NotFoundError(f"run {doc['id']} is not federated: it has no owners")
    return doc, federation


def _waiting(doc: RunDoc, name: str, job: str | None) -> ScriptRequest:
    """The request that waits at an owner. Raises NotFoundError or UsageError, with what to do."""
    from traindeck.core.base.sanitize import plain
    from traindeck.core.federation.reader import read_federation
    from traindeck.core.run.state import LIVE

    federation = read_federation(Path(doc["path"]))
    owners = {owner.name: owner for owner in federation.owners} if federation else {}
    owner = owners.get(name)
    if owner is None:
        known = ", ".join(plain(each) for each in owners) or "none"
        raise NotFoundError(f"run {doc['id']} has no owner {plain(name)!r}; it has {known}")
    if doc["state"] not in LIVE:
        raise NotFoundError(f"run {doc['id']} is {doc['state']}: nobody waits for an answer")
    jobs = {request.job: request for request in owner.waiting}
    if job is not None and job not in jobs:
        answered = {request.job: request.decision for request in owner.requests}
        if job in answered:
            raise NotFoundError(f"{plain(job)} at {plain(name)} was answered: {answered[job]}")
        raise NotFoundError(f"no request {plain(job)!r} waits at {plain(name)}")
    if not jobs:
        raise NotFoundError(f"no script waits at {plain(name)} for a hand")
    if job is None and len(jobs) > 1:
        names = ", ".join(plain(each) for each in jobs)
        raise UsageError(f"{len(jobs)} scripts wait at {plain(name)}: say --job, one of {names}")
    return jobs[job] if job is not None else next(iter(jobs.values()))


def _print_owners(federation: FederationStatus, private: bool) -> None:
    from traindeck.core.base.format import size
    from traindeck.core.base.sanitize import WHOLE, plain
    from traindeck.core.federation.status import CLASSES

    accounted = any(owner.privacy for owner in federation.owners)
    print_table(
        (
            *("OWNER", "PID", "STATE"),
            *(["SAMPLES"] if private or not accounted else []),
            "ROUND",
            *(["LOSS"] if private else []),
            *(name.upper() for name in CLASSES),
            *(["PRIVACY"] if accounted else []),
            "WAITS FOR A HAND",
        ),
        (
            (
                owner.name,
                _whole(owner.pid),
                owner.state,
                *([_whole(owner.samples)] if private or not accounted else []),
                _whole(owner.round),
                *([ascii_number(owner.loss)] if private else []),
                *(size(owner.bytes_out.get(name, 0)) if owner.heard else "–" for name in CLASSES),
                *([_privacy(owner)] if accounted else []),
                ", ".join(f"{each.script} ({each.job})" for each in owner.waiting) or "–",
            )
            for owner in federation.owners
        ),
    )
    if any(owner.privacy and owner.privacy.bounded for owner in federation.owners):
        say("≤: an upper bound, of the next place in the plan's curve")
    for owner in federation.owners:
        if owner.reason:
            print(plain(f"{owner.name} {owner.state}: {owner.reason}", WHOLE))


def _privacy(owner: OwnerStatus) -> str:
    if owner.privacy is None:
        return "–"
    paid = f" (budget {owner.privacy.ledger})" if owner.privacy.ledger else ""
    return f"ε {owner.privacy.spent} at {owner.privacy.terms}{paid}"


def _whole(value: int | None) -> str:
    return "–" if value is None else str(value)


def _print_script(request: ScriptRequest, as_json: bool) -> None:
    from traindeck.core.base.sanitize import plain
    from traindeck.core.federation.script import read_script

    script = read_script(request)
    if as_json:
        print_json(_script_json(script))
        return
    say(f"{plain(request.script)} for {plain(request.owner)}, job {plain(request.job)}")
    say(f"  asked by    {plain(request.submitted_by) or '–'}")
    say(f"  sha256      {script.sha256}")
    if request.price:
        say(f"  costs       {request.price.cost}")
        say(f"  budget      {request.price.paid or 'none'}")
    for line in script.params.split("\n"):
        say(f"  parameters  {line}")
    for warning in script.warnings:
        say(f"  warning     {warning}")
    if sys.stdout.isatty():
        print(script.text)
    else:
        sys.stdout.buffer.write(script.data)
    sys.stdout.flush()
    if script.diff is None:
        say(f"  agreed      {plain(script.note)}")
    elif not script.diff:
        say("  agreed      the same as the script that was agreed on")
    for line in script.diff or ():
        say(line)


def _script_json(script: Script) -> dict[str, Any]:
    return {
        **script.request.to_json(),
        "sha256": script.sha256,
        "asked_sha256": script.request.sha256,
        "params": script.params_data.decode("utf-8", "replace"),
        "text": script.data.decode("utf-8", "replace"),
        "diff": list(script.diff) if script.diff is not None else None,
        "note": script.note,
        "warnings": list(script.warnings),
    }


def _print_decision(
    doc: RunDoc, request: ScriptRequest, decision: str, sha256: str, as_json: bool
) -> None:
    from traindeck.core.base.sanitize import plain

    if as_json:
        facts = {"run": doc["id"], "owner": request.owner, "job": request.job}
        print_json({**facts, "decision": decision, "script": request.script, "sha256": sha256})
        return
    print(f"{decision} {plain(request.script)} for {plain(request.owner)}, SHA-256 {plain(sha256)}")
