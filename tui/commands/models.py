"""`traindeck models`: the bundles of this home, their labels, and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from traindeck.core.base.errors import TraindeckError, UsageError
from traindeck.tui.commands.output import AS_JSON, print_json, print_table, say

if TYPE_CHECKING:
    from pathlib import Path

    from traindeck.core.models.shelf import Shelf

MODEL = typer.Argument(help="A model's name; with /N or /LABEL one version.", metavar="NAME[/N]")


def register(app: typer.Typer) -> None:
    group = typer.Typer(invoke_without_command=True, help="List the models.")
    group.callback()(list_models)
    for command in (show, rm, restore, label, rollback):
        group.command(command.__name__)(command)
    app.add_typer(group, name="models")


def list_models(context: typer.Context, as_json: Annotated[bool, AS_JSON] = False) -> None:
    """List the models that `traindeck export` made: versions, labels, formats, privacy."""
    if context.invoked_subcommand:
        return
    from traindeck.core.models import words

    shelf = _shelf()
    found = [_described(shelf, name) for name in shelf.names()]
    if as_json:
        print_json(found)
        return
    rows = []
    for model in found:
        marks = {number: f" ({word})" for word, number in model["labels"].items()}
        newest = model["versions"][-1]
        numbers = (each["version"] for each in model["versions"])
        versions = ", ".join(f"{number}{marks.get(number, '')}" for number in numbers)
        bundle = newest["bundle"] or {}
        formats = " ".join(bundle.get("formats", {})) or newest["problem"]
        rows.append((model["name"], versions, formats, words.privacy(newest["bundle"])))
    print_table(("NAME", "VERSIONS", "FORMATS", "PRIVACY"), rows)


def show(model: Annotated[str, MODEL], as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Show a model: where it comes from, its inputs and outputs, how each format fared."""
    from traindeck.core.base.sanitize import plain
    from traindeck.core.models import words
    from traindeck.core.models.bundle import read_bundle, read_signature

    shelf = _shelf()
    name, version = _parsed(model)
    folder = shelf.folder(name, version)
    bundle = read_bundle(folder)
    if as_json:
        labels = [w for w, n in shelf.labels(name).items() if n == bundle["version"]]
        print_json({**bundle, "path": str(folder), "labels": labels})
        return
    facts = [
        *words.origin(bundle),
        ("labels", ", ".join(w for w, n in shelf.labels(name).items() if n == bundle["version"])),
        ("folder", str(folder)),
    ]
    print(plain(f"{bundle['name']}, version {bundle['version']}"))
    for key, value in facts:
        if value:
            print(f"  {key:<9} {plain(value, 400)}")
    signature = read_signature(folder)
    print()
    print_table(
        ("", "NAME", "TYPE", "WHAT"),
        (
            (side, name, f"{t['dtype']} {words.shape(t['shape'])}", words.what(t))
            for side, tensors in (("in", signature["inputs"]), ("out", signature["outputs"]))
            for name, t in tensors.items()
        ),
    )
    print()
    print_table(
        tuple(title.upper() for title in words.TITLES),
        (words.figures(name, form) for name, form in bundle["formats"].items()),
    )
    for name, why in bundle.get("refused", {}).items():
        say(plain(f"left out: {name}, which {why}", 1000))


def rm(model: Annotated[str, MODEL], as_json: Annotated[bool, AS_JSON] = False) -> None:
    """Move a model, or one version of it, to the trash."""
    shelf = _shelf()
    name, version = _parsed(model)
    number = None if version is None else int(shelf.folder(name, version).name)
    gone = shelf.trash(name, number)
    if as_json:
        print_json({"name": name, "removed": gone})
    else:
        say(f"moved to the trash: {', '.join(f'{name}/{n}' for n in gone)}")


def restore(
    model: Annotated[
        str | None, typer.Argument(help="A model's name; with /N one version.", metavar="NAME[/N]")
    ] = None,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Bring a model, or one version of it, back from the trash, or list what is in it."""
    shelf = _shelf()
    if model is None:
        there = [f"{name}/{number}" for name, number in shelf.trashed()]
        if as_json:
            print_json(there)
        else:
            print_table(("IN THE TRASH",), [(each,) for each in there])
        return
    name, version = _parsed(model)
    if version is not None and not version.isdecimal():
        raise UsageError(f"{model!r}: of what is in the trash the number is said, such as {name}/1")
    back = shelf.restore(name, None if version is None else int(version))
    if as_json:
        print_json({"name": name, "restored": back})
    else:
        say(f"back from the trash: {', '.join(f'{name}/{n}' for n in back)}")


def label(
    name: Annotated[str, typer.Argument(help="A model's name.")],
    word: Annotated[str, typer.Argument(help="Such as stable or canary.", metavar="LABEL")],
    version: Annotated[str | None, typer.Argument(help="Which it stands for.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the label away.")] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Have a label, such as stable or canary, stand for a version: clients ask by it."""
    shelf = _shelf()
    if (version is None) != remove:
        raise UsageError("say which version the label stands for, or --remove")
    number = None if version is None else int(shelf.folder(name, version).name)
    shelf.label(name, word, number)
    if as_json:
        print_json({"name": name, "labels": shelf.labels(name)})
    else:
        said = f"{word} is {name}/{number}" if number else f"{name} has no label {word} any more"
        say(said)


def rollback(
    name: Annotated[str, typer.Argument(help="A model's name.")],
    word: Annotated[str, typer.Argument(help="Which label.", metavar="LABEL")] = "stable",
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Put a label back on the version that it was on before; twice is where it began."""
    shelf = _shelf()
    number = shelf.roll_back(name, word)
    if as_json:
        print_json({"name": name, "labels": shelf.labels(name)})
    else:
        say(f"{word} is {name}/{number} again")


def _shelf() -> Shelf:
    from traindeck.core.base.home import Home
    from traindeck.core.models.shelf import Shelf

    return Shelf(Home.default())


def _parsed(model: str) -> tuple[str, str | None]:
    name, slash, version = model.partition("/")
    if slash and not version:
        raise UsageError(f"{model!r}: after / comes a version's number or label")
    return name, version or None


def _described(shelf: Shelf, name: str) -> dict[str, Any]:
    versions = [_version(shelf.folder(name, number), number) for number in shelf.versions(name)]
    return {"name": name, "labels": shelf.labels(name), "versions": versions}


def _version(folder: Path, number: int) -> dict[str, Any]:
    from traindeck.core.models.bundle import read_bundle

    try:
        bundle, problem = read_bundle(folder), ""
    except TraindeckError as error:
        bundle, problem = None, str(error)
    return {"version": number, "path": str(folder), "bundle": bundle, "problem": problem}
