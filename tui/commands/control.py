"""`traindeck stop`, `kill`, `rm`, `restore`, `trash`, `edit`: changing runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from traindeck.core.base.errors import TraindeckError, UsageError
from traindeck.tui.commands.output import (
    AS_JSON,
    duration,
    print_json,
    print_table,
    say,
    say_error,
)

REFS = typer.Argument(help="Ids, their unique starts, names, or @last.", metavar="ID…")
YES = typer.Option("--yes", help="Do not ask before anything is deleted for good.")
Refs = Annotated[list[str], REFS]


def register(app: typer.Typer) -> None:
    for command in (stop, kill, rm, restore, trash, edit):
        app.command(command.__name__)(command)


def stop(refs: Refs) -> None:
    """Ask runs to end: SIGTERM, and SIGKILL when their grace is over (30 s)."""
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


def rm(
    refs: Refs,
    purge: Annotated[
        bool, typer.Option("--purge", help="Delete them for good, also from the trash.")
    ] = False,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Move ended runs to the trash; `traindeck restore` brings them back."""
    from traindeck.core import control
    from traindeck.core import trash as heap
    from traindeck.core.base.format import size
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library, RunNotFound

    home = Home.default()
    library = Library(home)

    def remove(run_id: str, folder: Path) -> None:
        if folder.parent != home.trash:
            control.trash(home, run_id)
        if purge:
            freed = heap.purge(home, run_id)
            say(f"run {run_id} is deleted, which frees {size(freed)}")
        else:
            say(f"run {run_id} is in the trash; `traindeck restore {run_id}` brings it back")

    def find(ref: str) -> tuple[str, Path]:
        try:
            doc = library.find(ref, metrics=False)
        except RunNotFound:
            if not purge:
                raise
            run_id = library.find_trashed(ref)
            return run_id, home.trash / run_id
        return doc["id"], Path(doc["path"])

    def ask(run_ids: Sequence[str]) -> None:
        if purge and not yes:
            _make_sure(run_ids)

    _to_each(refs, remove, find, ask)


def trash(
    action: Annotated[
        str | None, typer.Argument(help="empty: delete what is in it for good.", metavar="[empty]")
    ] = None,
    older: Annotated[
        str | None, typer.Option(help="Only what has been there for longer: 30d, 12h …")
    ] = None,
    yes: Annotated[bool, YES] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Show what is in the trash, how long and how large; or empty it."""
    from traindeck.core import trash as heap
    from traindeck.core.base.format import size
    from traindeck.core.base.home import Home

    if action not in (None, "empty"):
        raise UsageError(f"{action!r} is nothing that the trash can do: `traindeck trash empty`")
    home, least = Home.default(), heap.age(older) if older is not None else 0.0
    there = [each for each in heap.contents(home) if each.seconds >= least]
    if action == "empty":
        if there and not yes:
            _make_sure([each.id for each in there])
        freed: list[int] = []
        codes = [
            _attempt(lambda each: freed.append(heap.purge(home, each.id)), one) for one in there
        ]
        if as_json:
            print_json([each.to_json() for each in there])
        say(f"{len(freed)} of {len(there)} deleted, which frees {size(sum(freed))}")
        _exit_with_worst(codes)
    elif as_json:
        print_json([each.to_json() for each in there])
    elif not there:
        say("the trash is empty" if older is None else "nothing has been in the trash for so long")
    else:
        print_table(
            ("ID", "NAME", "STATE", "SIZE", "DELETED"),
            (
                (
                    *(each.id, (each.name or "–")[:30], each.state or "damaged"),
                    *(size(each.bytes), f"{duration(each.seconds)} ago"),
                )
                for each in there
            ),
        )
        total = size(sum(each.bytes for each in there))
        say(f"{len(there)} in it, {total}; `traindeck trash empty` deletes them for good")


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


def _to_each(
    refs: list[str],
    action: Callable[[str, Path], None],
    look: Callable[[str], tuple[str, Path]] | None = None,
    ask: Callable[[Sequence[str]], None] = lambda run_ids: None,
) -> None:
    """Do something to every run, whatever becomes of the others; exits with the worst code.

    look  how a run's id and folder are found; default: among those that are not in the trash
    ask   is told of all that were found, before anything is done
    """
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library

    library = Library(Home.default())
    folders: dict[str, Path] = {}

    def find(ref: str) -> None:
        if look is None:
            doc = library.find(ref, metrics=False)
            folders[doc["id"]] = Path(doc["path"])
        else:
            run_id, folder = look(ref)
            folders[run_id] = folder

    # All are found before anything is done: `@last` is another run after `rm @last`.
    codes = [_attempt(find, ref) for ref in refs]
    if folders:
        ask([*folders])
    codes += [_attempt(action, run_id, folder) for run_id, folder in folders.items()]
    _exit_with_worst(codes)


def _make_sure(run_ids: Sequence[str]) -> None:
    """Raises UsageError where nobody can be asked, and ends the command where the answer is no."""
    what = run_ids[0] if len(run_ids) == 1 else f"{len(run_ids)} runs"
    if not sys.stdin.isatty():
        raise UsageError(f"nobody can be asked here; --yes deletes {what} for good")
    typer.confirm(f"Delete {what} for good?", abort=True, err=True)


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
