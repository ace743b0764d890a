"""`traindeck stop`, `kill`, `rm`, `restore`, `edit`: changing runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from traindeck.core.errors import NotFoundError, UsageError
from traindeck.tui.commands.output import say

REFS = typer.Argument(help="Ids, their unique starts, names, or @last.", metavar="ID…")
Refs = Annotated[list[str], REFS]


def register(app: typer.Typer) -> None:
    for command in (stop, kill, rm, restore, edit):
        app.command(command.__name__)(command)


def stop(refs: Refs) -> None:
    """Ask runs to end: SIGTERM, and SIGKILL when 10 s have passed."""
    from traindeck.core import control

    for doc_id, path in _found(refs):
        control.stop(path)
        say(f"run {doc_id} was asked to stop")


def kill(refs: Refs) -> None:
    """End runs and all they started at once."""
    from traindeck.core import control

    for doc_id, path in _found(refs):
        control.kill(path)
        say(f"run {doc_id} is being killed")


def rm(refs: Refs) -> None:
    """Move ended runs to the trash; `traindeck restore` brings them back."""
    from traindeck.core import control
    from traindeck.core.home import Home

    for doc_id, _ in _found(refs):
        control.trash(Home.default(), doc_id)
        say(f"run {doc_id} is in the trash; `traindeck restore {doc_id}` brings it back")


def restore(
    refs: Annotated[
        list[str] | None, typer.Argument(help="Ids in the trash; none lists them.", metavar="ID…")
    ] = None,
) -> None:
    """Bring runs back from the trash."""
    from traindeck.core import control
    from traindeck.core.home import Home

    home = Home.default()
    there = control.trashed(home)
    for ref in refs or ():
        matching = [run_id for run_id in there if run_id.startswith(ref)]
        if len(matching) != 1:
            raise NotFoundError(f"{len(matching)} runs in the trash begin with {ref!r}")
        control.restore(home, matching[0])
        say(f"run {matching[0]} is back")
    if not refs:
        print("\n".join(there)) if there else say("the trash is empty")


def edit(
    ref: Annotated[str, typer.Argument(help="An id, name or @last.", metavar="ID")],
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Its tags from now on.")] = None,
    notes: Annotated[str | None, typer.Option(help="Its notes from now on.")] = None,
) -> None:
    """Change a run's name, tags or notes."""
    from traindeck.core import control
    from traindeck.core.home import Home

    if name is None and tag is None and notes is None:
        raise UsageError("say what to change: --name, --tag or --notes")
    home = Home.default()
    [(run_id, _)] = _found([ref])
    if name is not None:
        control.rename(home, run_id, name)
    if tag is not None:
        control.tag(home, run_id, tag)
    if notes is not None:
        control.note(home, run_id, notes)


def _found(refs: list[str]) -> list[tuple[str, Path]]:
    from traindeck.core.home import Home
    from traindeck.core.library import Library

    library = Library(Home.default())
    docs = [library.find(ref, metrics=False) for ref in refs]
    return [(doc["id"], Path(doc["path"])) for doc in docs]
