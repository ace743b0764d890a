"""`traindeck stop`, `kill`, `rm`, `restore`, `edit`: changing runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from traindeck.core.base.errors import TraindeckError, UsageError
from traindeck.tui.commands.output import AS_JSON, print_json, say, say_error

REFS = typer.Argument(help="Ids, their unique starts, names, or @last.", metavar="ID…")
Refs = Annotated[list[str], REFS]


def register(app: typer.Typer) -> None:
    for command in (stop, kill, rm, restore, edit):
        app.command(command.__name__)(command)


def stop(refs: Refs) -> None:
    """Ask runs to end: SIGTERM, and SIGKILL when 10 s have passed."""
    from traindeck.core import control

    def ask(run_id: str, folder: Path) -> None:
        control.stop(folder)
        say(f"run {run_id} was asked to stop")

    _to_each(refs, ask)


def kill(refs: Refs) -> None:
    """End runs and all they started at once."""
    from traindeck.core import control

    def end(run_id: str, folder: Path) -> None:
        control.kill(folder)
        say(f"run {run_id} is being killed")

    _to_each(refs, end)


def rm(refs: Refs) -> None:
    """Move ended runs to the trash; `traindeck restore` brings them back."""
    from traindeck.core import control
    from traindeck.core.base.home import Home

    home = Home.default()

    def remove(run_id: str, _: Path) -> None:
        control.trash(home, run_id)
        say(f"run {run_id} is in the trash; `traindeck restore {run_id}` brings it back")

    _to_each(refs, remove)


def restore(
    refs: Annotated[
        list[str] | None,
        typer.Argument(help="Ids or names in the trash, or @last; none lists it.", metavar="ID…"),
    ] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Bring runs back from the trash, or list what is in it."""
    from traindeck.core import control
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library, trashed

    home = Home.default()
    library = Library(home)
    there = trashed(home)
    lines = {run_id: _in_short(home.trash / run_id) for run_id in there} if as_json else {}
    back = []

    def bring_back(ref: str) -> None:
        run_id = library.find_trashed(ref)
        control.restore(home, run_id)
        back.append(run_id)
        say(f"run {run_id} is back")

    codes = [_attempt(bring_back, ref) for ref in dict.fromkeys(refs or ())]
    if as_json:
        print_json([lines[run_id] for run_id in (back if refs else there)])
    elif not refs:
        print("\n".join(there)) if there else say("the trash is empty")
    _exit_with_worst(codes)


def edit(
    ref: Annotated[str, typer.Argument(help="An id, name or @last.", metavar="ID")],
    name: Annotated[str | None, typer.Option(help="Another name.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="Its tags from now on.")] = None,
    notes: Annotated[str | None, typer.Option(help="Its notes from now on.")] = None,
) -> None:
    """Change a run's name, tags or notes."""
    from traindeck.core import control
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library

    if name is None and tag is None and notes is None:
        raise UsageError("say what to change: --name, --tag or --notes")
    home = Home.default()
    run_id = Library(home).find(ref, metrics=False)["id"]
    if name is not None:
        control.rename(home, run_id, name)
    if tag is not None:
        control.tag(home, run_id, tag)
    if notes is not None:
        control.note(home, run_id, notes)


def _to_each(refs: list[str], action: Callable[[str, Path], None]) -> None:
    """Do something to every run, whatever becomes of the others; exits with the worst code."""
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library

    library = Library(Home.default())
    folders: dict[str, Path] = {}

    def find(ref: str) -> None:
        doc = library.find(ref, metrics=False)
        folders[doc["id"]] = Path(doc["path"])

    # All are found before anything is done: `@last` is another run after `rm @last`.
    codes = [_attempt(find, ref) for ref in refs]
    codes += [_attempt(action, run_id, folder) for run_id, folder in folders.items()]
    _exit_with_worst(codes)


def _attempt(action: Callable[..., None], *given: object) -> int:
    """The exit code of one of several things to do; what went wrong is told."""
    try:
        action(*given)
    except (TraindeckError, OSError) as error:
        return say_error(error)
    return 0


def _exit_with_worst(codes: Iterable[int]) -> None:
    if code := max(codes, default=0):
        raise typer.Exit(code)


def _in_short(folder: Path) -> dict[str, Any]:
    """What the trash tells of a run; a damaged one has but its id."""
    from traindeck.core.catalogue.document import document
    from traindeck.core.run.folder import RunFolder

    doc: Mapping[str, Any] = document(RunFolder(folder), metrics=False) or {}
    return {"id": folder.name, **{key: doc.get(key) for key in ("name", "state", "created")}}
