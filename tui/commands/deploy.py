"""`traindeck export`: a run's model as a checked bundle; its records are given by `exchange`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from traindeck.core.base.errors import UsageError
from traindeck.tui.commands.exchange import RECORDS, give_records, records_among
from traindeck.tui.commands.output import AS_JSON, print_json, say

if TYPE_CHECKING:
    from traindeck.core.recipe.params import Value

MICRO = "micro"


def register(app: typer.Typer) -> None:
    app.command("export")(export)


def export(
    refs: Annotated[
        list[str],
        typer.Argument(help="A run's id, name or @last; several for records.", metavar="RUN…"),
    ],
    to: Annotated[
        str,
        typer.Option(
            help="Models: saved_model, litert, onnx, pt2, executorch; or records: "
            f"{', '.join(RECORDS)}; commas between."
        ),
    ] = "",
    into: Annotated[
        Path | None,
        typer.Option(help="Where records are written; else the last argument says it."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Records: series of private training data, too.")
    ] = False,
    name: Annotated[str, typer.Option("--as", help="The model's name (default: the run's).")] = "",
    quantize: Annotated[str, typer.Option(help="LiteRT besides: dynamic, int8, f16.")] = "",
    aim: Annotated[
        str, typer.Option("--for", help="micro: int8 in, int8 out, for microcontrollers.")
    ] = "",
    calibrate: Annotated[
        str,
        typer.Option(help="What int8 is calibrated with: test, training (if public), or an .npz."),
    ] = "test",
    test: Annotated[
        Path | None, typer.Option(help="An .npz of test records, of data that is not built in.")
    ] = None,
    file: Annotated[
        str, typer.Option(help="A model's file that the run wrote, taken instead of its servable.")
    ] = "",
    force: Annotated[
        bool, typer.Option("--force", help="Keep formats that fail the comparison, marked.")
    ] = False,
    on: Annotated[str, typer.Option(help="Where it runs, as in `run`.")] = "cpu",
    background: Annotated[
        bool, typer.Option("--background", help="Come back at once; it goes on.")
    ] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Make a bundle of a run's model: models/NAME/<n>/, each format proven over all test records.

    It is a run of its own, which goes on when the terminal is closed. Exits 1 when a format was
    left out, since it does not answer as the run's own model does.

    With `--to tensorboard|csv|parquet|mlflow|jsonl RUN… DIR` instead: the runs' curves,
    parameters and tags for other tools, without what no epsilon covers.
    """
    _check_formats(to, quantize)
    if formats := records_among(to):
        for_models: dict[str, object] = {
            "--as": name,
            "--quantize": quantize,
            "--for": aim,
            "--file": file,
        }
        for_models |= {"--test": test, "--force": force, "--background": background}
        if given := [option for option, value in for_models.items() if value]:
            raise UsageError(f"{given[0]} is for models; --to {to} writes records")
        give_records(refs, formats, into, private, as_json)
        return
    if into or private:
        raise UsageError(f"--{'into' if into else 'private'} is for records: --to {RECORDS[0]} …")
    if len(refs) > 1:
        raise UsageError(f"one run's model at a time; several go to records: {', '.join(RECORDS)}")
    [ref] = refs
    from traindeck.core.base.home import Home
    from traindeck.core.catalogue.library import Library
    from traindeck.core.launch import launch
    from traindeck.core.models.shelf import check_name
    from traindeck.tui.commands.run import check_needs
    from traindeck.tui.readers.deploying import export_request

    if name:
        check_name(name)
    if aim not in ("", MICRO):
        raise UsageError(f"--for {aim}: only {MICRO} is known")
    home = Home.default()
    doc = Library(home).find(ref, metrics=False)
    values: dict[str, Value] = {
        "name": name,
        "to": to,
        "quantize": quantize,
        "micro": aim == MICRO,
        "calibrate": _absolute(calibrate) if calibrate.endswith(".npz") else calibrate,
        "test": str(test.expanduser().absolute()) if test else None,
        "file": _absolute(file) if file and Path(file).expanduser().exists() else file,
        "force": force,
    }
    request = export_request(home, doc, values, on)
    check_needs(home, request)
    started = launch(home, request)
    if background:
        if as_json:
            print_json({"id": started["id"], "path": started["path"]})
        else:
            print(started["id"])
            say(f"launched; `traindeck watch {started['id']}` follows it")
        return
    _wait(home.runs / started["id"], as_json)


def _check_formats(to: str, quantize: str) -> None:
    """Raises UsageError for a word that is no format."""
    from traindeck.core.base.nearest import did_you_mean
    from traindeck.core.models.bundle import FLOATS, QUANTIZED

    known = f"models: {', '.join(FLOATS)}; records: {', '.join(RECORDS)}"
    for option, given, formats, told in (
        ("--to", to, (*FLOATS, *RECORDS), known),
        ("--quantize", quantize, QUANTIZED, ", ".join(QUANTIZED)),
    ):
        for word in given.split(","):
            if (word := word.strip()) and word not in formats:
                mend = did_you_mean(word, formats)
                raise UsageError(
                    f"{option}: there is no format {word!r}; {f'{mend} ' if mend else ''}{told}"
                )


def _wait(folder: Path, as_json: bool) -> None:
    from traindeck.core.launch import going_on
    from traindeck.core.run.artifacts import artifacts
    from traindeck.tui.commands.live import follow

    with going_on(folder.name):
        code = follow(folder, to_stderr=as_json)
    made = artifacts(folder, "bundle")
    if as_json:
        from traindeck.core.models.bundle import read_bundle

        place = Path(made[-1]["path"]) if made else None
        bundle = dict(read_bundle(place)) if place else None
        print_json({"id": folder.name, "path": str(place) if place else None, "bundle": bundle})
    if code:
        raise typer.Exit(code)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute())
