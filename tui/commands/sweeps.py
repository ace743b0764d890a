"""`traindeck sweeps`: looking at sweeps and changing them."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.core.base.errors import ControlError, TraindeckError, UsageError
from traindeck.core.base.format import counted
from traindeck.tui.commands.output import AS_JSON, ascii_number, print_json, print_table, say
from traindeck.tui.commands.sweep_words import follow, known, told, tuning_lines

if TYPE_CHECKING:
    from traindeck.core.sweeps.study import SweepFolder

REF = typer.Argument(help="A sweep's id, its unique start, its name, or @last.", metavar="ID")
Ref = Annotated[str, REF]


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Sweeps: many runs that search parameters.", no_args_is_help=True)
    for command in (ls, show, stop, resume, extend, rm, export):
        group.command(command.__name__)(command)
    app.add_typer(group, name="sweeps")


def ls(as_json: Annotated[bool, AS_JSON] = False) -> None:
    """List the sweeps, newest first."""
    from traindeck.core.base.home import Home
    from traindeck.core.sweeps.driver import tend
    from traindeck.core.sweeps.study import sweeps

    home = Home.default()
    with contextlib.suppress(OSError):  # a home that cannot be written can still be read
        tend(home)
    lines = []
    for folder in sweeps(home):
        with contextlib.suppress(TraindeckError):
            lines.append(told(folder))
    if as_json:
        print_json(lines)
        return
    if not lines:
        say("no sweeps yet; `traindeck sweep RECIPE -p lr=log:1e-4..1e-1` begins one")
        return
    print_table(
        ("ID", "NAME", "STATE", "TRIALS", "SOUGHT", "BEST", "BY"),
        (
            (
                one["id"],
                one["name"][:30],
                one["state"],
                f"{one['done']}/{one['trials_wanted']}",
                f"{one['direction'][:3]} {one['series']}",
                ascii_number(one["best"]["value"]) if one["best"] else "–",
                one["best"]["shown"] if one["best"] else "–",
            )
            for one in lines
        ),
    )


def show(ref: Ref, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Show a sweep's trials, the best first, and what each parameter matters."""
    folder = _found(ref)
    facts = told(folder)
    if as_json:
        print_json(facts)
        return
    from traindeck.core.sweeps.space import shown

    print(f"sweep {facts['id']} {facts['name']}: {facts['state']}", end="")
    print(f" ({facts['reason']})" if facts["reason"] else "")
    print(f"{facts['direction']} {facts['series']}, {_method(facts)}")
    for name, text in facts["space"].items():
        weight = facts["importance"].get(name)
        print(f"  {name} = {text}" + (f"   decides {weight:.0%}" if weight is not None else ""))
    for line in tuning_lines(facts):
        print(line)
    if facts["trials"]:
        print_table(
            ("TRIAL", "STATE", "VALUE", "SPREAD", "RUN", "VALUES"),
            (
                (
                    str(one["number"]),
                    one["state"],
                    ascii_number(one["value"] if one["value"] is not None else one["last"]),
                    ascii_number(one["spread"]),
                    one["runs"][0],
                    shown(one["values"]) + (f"  ({one['reason']})" if one["reason"] else ""),
                )
                for one in _ranked(facts)
            ),
        )
    if facts["select"]:
        say("trials are not shown: of a secret number of them only the best ever is")
        return
    say(f"{facts['done']} of {facts['trials_wanted']} trials are done")


def _method(facts: dict[str, Any]) -> str:
    parts = [f"sampler {facts['sampler']}"]
    if facts["pruner"] != "none":
        parts.append(f"pruner {facts['pruner']}")
    if facts["seeds"] > 1:
        parts.append(f"{facts['seeds']} seeds each")
    return ", ".join([*parts, f"{facts['at_once']} at once on {facts['on']}"])


def _ranked(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """Complete trials from the best to the worst, then the others by number."""
    sign = -1.0 if facts["direction"] == "maximize" else 1.0

    def rank(one: dict[str, Any]) -> tuple[bool, float, int]:
        value = one["value"]
        return value is None, sign * (value or 0.0), one["number"]

    return sorted(facts["trials"], key=rank)


def stop(ref: Ref) -> None:
    """Let no further trial start, and ask those that run to end."""
    from traindeck.core.sweeps import driver, study

    folder = _found(ref)
    study.stop(folder)
    driver.start(folder)  # if it was killed: somebody has to ask the runs
    say(f"sweep {folder.id} was asked to stop; `traindeck sweeps resume {folder.id}` goes on")


def resume(
    ref: Ref,
    failed: Annotated[bool, typer.Option("--failed", help="Do failed trials again.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Print each trial until it ends.")] = False,
) -> None:
    """Let a stopped or interrupted sweep go on; trials that were stopped are done again."""
    from traindeck.core.sweeps import driver, study

    folder = _found(ref)
    study.resume(folder, failed=failed)
    _go_on(folder, driver.start(folder), wait)


def extend(
    ref: Ref,
    more: Annotated[int, typer.Argument(help="How many trials more.")],
    wait: Annotated[bool, typer.Option("--wait", help="Print each trial until it ends.")] = False,
) -> None:
    """Let a sweep have more trials."""
    from traindeck.core.sweeps import begin

    folder = _found(ref)
    begin.extend(folder, more)
    _go_on(folder, begin.go_on(folder), wait)


def _go_on(folder: SweepFolder, started: bool, wait: bool) -> None:
    if not started:
        say(f"sweep {folder.id} goes on already")
    if wait:
        follow(folder)
    else:
        say(f"sweep {folder.id} goes on; `traindeck sweeps show {folder.id}` tells how")


def rm(ref: Ref) -> None:
    """Move a sweep's runs to the trash, and take the sweep away."""
    from traindeck.core.sweeps.removal import remove

    folder = _found(ref)
    count = remove(folder)
    runs = f"{counted(count, 'run')} {'is' if count == 1 else 'are'}"
    say(f"sweep {folder.id} is gone, its {runs} in the trash")


def export(
    ref: Ref,
    target: Annotated[str, typer.Argument(help="A journal's path, or sqlite:///FILE.")],
) -> None:
    """Write a sweep as a study that optuna's own tools open."""
    import os

    from traindeck.core.sweeps.begin import check_installed

    check_installed()
    from traindeck.core.sweeps import sampler

    folder = _found(ref)
    design, trials = known(folder)
    path = target.removeprefix("sqlite:///")
    if os.path.exists(path):
        raise UsageError(f"{path} is there already")
    try:
        sampler.export(design, design.space(), trials, target)
    except Exception as error:  # whatever the storage's library raises
        raise ControlError(f"{target} cannot be written: {error}") from None
    say(f"study {sampler.study_name(design)!r} with {len(trials)} trials is in {target}")


def _found(ref: str) -> SweepFolder:
    from traindeck.core.base.home import Home
    from traindeck.core.sweeps.driver import tend
    from traindeck.core.sweeps.study import find

    home = Home.default()
    with contextlib.suppress(OSError):
        tend(home)
    return find(home, ref)
