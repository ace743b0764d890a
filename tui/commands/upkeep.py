"""`traindeck devices`, `reindex`, `doctor`: the machine and the home."""

from __future__ import annotations

from typing import Annotated

import typer

from traindeck.tui.commands.output import AS_JSON, print_json, print_table, say


def register(app: typer.Typer) -> None:
    for command in (devices, reindex, doctor):
        app.command(command.__name__)(command)


def devices(as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Show what can be trained on, and which run is on it."""
    from traindeck.core.base.home import Home
    from traindeck.core.devices.inventory import discover
    from traindeck.core.queue.slots import holders

    inventory = discover()
    held = holders(Home.default())
    if as_json:
        print_json({**inventory.to_json(), "held": held})
        return
    cpu = inventory.cpu
    rows = [("cpu", cpu.model, f"{len(cpu.usable_cores)} cores, shared", "")]
    for core in cpu.usable_cores:
        run = held.get(f"cpu-{core}", "")
        rows.append((f"cpu:{core}", "", f"taken by {run}" if run else "free", ""))
    for item in (*inventory.gpus, *inventory.tpus):
        run = held.get(item.slot, "")
        memory = f"{item.memory_total_bytes / 2**30:.0f} GiB" if item.memory_total_bytes else ""
        rows.append((item.label, item.name, f"taken by {run}" if run else "free", memory))
    print_table(("--on", "DEVICE", "USE", "MEMORY"), rows)
    for line in inventory.notes:
        say(line)


def reindex() -> None:
    """Make the catalogue anew from the run folders."""
    from traindeck.core.base.format import counted
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.store import Catalogue

    home = Home.default()
    home.make()
    say(f"{counted(Catalogue(home).reindex(), 'run')} in {home.catalogue}")


def doctor(
    remove_unused: Annotated[
        str,
        typer.Option(metavar="AGE", help="Delete scripts' environments unused for 30d, 12h …"),
    ] = "",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Say what is installed, which recipes have their packages, and what mends the rest.

    Data and weights are looked for when a recipe starts; it says then what is missing.
    """
    from traindeck.core import doctor
    from traindeck.core.base.home import Home

    home = Home.default()
    if remove_unused:
        from traindeck.core.trash import age

        gone = doctor.remove_unused(home, age(remove_unused))
        names = ", ".join(folder.name for folder in gone)
        say(f"removed {names}" if gone else "no environment was unused for so long")
    findings = doctor.examine(home)
    if as_json:
        print_json([{"what": f.what, "ok": f.ok, "is": f.state, "mend": f.mend} for f in findings])
        return
    print_table(
        ("", "WHAT", "IS"),
        (("ok" if f.ok else "--", f.what, f.state) for f in findings),
    )
    for finding in findings:
        if finding.mend:
            say(f"{finding.what}: {finding.mend}")
