"""A model's version as columns and lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from textual.content import Content

from traindeck.core.base.format import compact, size
from traindeck.core.base.sanitize import plain
from traindeck.core.models import words
from traindeck.core.models.bundle import Bundle
from traindeck.core.serving import FAILED, IS_LOADING, SERVING
from traindeck.tui.readers.models import Server, Version
from traindeck.tui.widgets.columns import Key, Part
from traindeck.tui.widgets.row_table import RowColumn
from traindeck.tui.widgets.rows import Row, rows, sparkline

NO_MODELS = (
    "No model was exported yet.\n\n"
    "A finished run's model becomes a bundle: a numbered folder with the formats that servers,"
    " phones and microcontrollers run, each proven against the run's own model. {key} here, or on a"
    " run's screen, or\n\n"
    "    traindeck export @last --as NAME\n"
    "    traindeck serve NAME\n\n"
    "`traindeck run torch-digits` trains one in seconds."
)
NONE: Sequence[Part] = (("–", "dim"),)
TONES = {SERVING: "good", IS_LOADING: "live", FAILED: "bad"}
STYLES = {SERVING: "$text-success", IS_LOADING: "$text-primary", FAILED: "bold $text-error"}
_SPARK = 30


# The table


def _state(version: Version, width: int) -> Sequence[Part]:
    if version.problem and version.own:
        return [("damaged", "bad")]
    return [(version.state, TONES[version.state])] if version.state else NONE


def _figure(name: str) -> Any:
    def parts(version: Version, width: int) -> Sequence[Part]:
        if version.fares is None or version.state != SERVING:
            return NONE
        value = getattr(version.fares, name)
        if value is None:
            return NONE
        # What is counted of several versions together, the panel says to be so.
        tone = "bad" if name == "errors" and value else "dim" if version.together else ""
        return [(compact(float(value)), tone)]

    return parts


def _formats(version: Version, width: int) -> Sequence[Part]:
    if version.bundle is None:
        return NONE
    forced = {n for n, f in version.bundle["formats"].items() if f.get("parity", {}).get("forced")}
    parts: list[Part] = []
    for name in version.bundle["formats"]:
        parts.append(((" " if parts else "") + plain(name), "bad" if name in forced else ""))
    return parts


def worst(bundle: Bundle | None) -> float | None:
    """The least agreement among a bundle's formats."""
    forms = bundle["formats"].values() if bundle else ()
    agreed = [form.get("parity", {}).get("agreement") for form in forms]
    return min((each for each in agreed if isinstance(each, int | float)), default=None)


def _parity(version: Version, width: int) -> Sequence[Part]:
    value = worst(version.bundle)
    return NONE if value is None else [(f"{value:.2%}", "warn" if value < 0.99 else "")]


def smallest(bundle: Bundle | None) -> int | None:
    """Bytes of the smallest format."""
    forms = bundle["formats"].values() if bundle else ()
    return min((form["bytes"] for form in forms if form.get("bytes")), default=None)


def _bytes(version: Version, width: int) -> Sequence[Part]:
    value = smallest(version.bundle)
    return NONE if value is None else [(size(value), "")]


def quickest(bundle: Bundle | None) -> float | None:
    """Milliseconds for one record by the quickest format."""
    forms = bundle["formats"].values() if bundle else ()
    times = [form.get("latency", {}).get("1", {}).get("p50") for form in forms]
    return min((each for each in times if isinstance(each, int | float)), default=None)


def _latency(version: Version, width: int) -> Sequence[Part]:
    value = quickest(version.bundle)
    return NONE if value is None else [(f"{value:.3g}", "")]


def _privacy(version: Version, width: int) -> Sequence[Part]:
    if version.bundle is None:
        return NONE
    said = words.privacy(version.bundle)
    if said == words.NOT_COVERED:
        return [(said, "dim")]
    short = plain(said).replace("epsilon", "ε").replace("delta", "δ")
    return [(short if len(short) <= width else short.partition(" at ")[0], "")]


def _number(version: Version) -> Key:
    return float(version.number)


COLUMNS = (
    RowColumn("model", "Model", 9, 0, lambda v, _: [(plain(v.name), "")], 2, 32),
    RowColumn(
        "version", "Ver", 3, 0, lambda v, _: [(str(v.number), "")], right=True, sorts=_number
    ),
    RowColumn("labels", "Labels", 7, 2, lambda v, _: [(plain(" ".join(v.labels)), "live")], 1, 20),
    RowColumn("state", "State", 7, 0, _state),
    RowColumn("rate", "Req/s", 5, 1, _figure("rate"), right=True),
    RowColumn("p50", "p50 ms", 6, 4, _figure("p50"), right=True),
    RowColumn("p99", "p99 ms", 6, 3, _figure("p99"), right=True),
    RowColumn("errors", "Errors", 6, 5, _figure("errors"), right=True),
    RowColumn("memory", "MB", 5, 7, _figure("memory_mb"), right=True),
    RowColumn("formats", "Formats", 12, 3, _formats, 3, 60),
    RowColumn("parity", "Agree", 7, 6, _parity, right=True, sorts=lambda v: worst(v.bundle)),
    RowColumn("size", "Least size", 10, 8, _bytes, right=True, sorts=lambda v: smallest(v.bundle)),
    RowColumn("latency", "Least ms", 8, 7, _latency, right=True),
    RowColumn("privacy", "Privacy", 11, 2, _privacy, 1, 34),
)


# One version


def lines(version: Version, width: int) -> Content:
    """All that is known of a version: its server, its formats, where it comes from."""
    parts = [_title(version)]
    if version.state:
        parts.append(rows(_serving(version), width))
    if version.bundle is None:
        problem = plain(version.problem, 500)
        parts += Content.styled(problem, "$text-error" if version.own else "dim").wrap(width)
        return Content("\n").join(parts)
    parts += [Content(""), formats(version.bundle, width)]
    for name, why in version.bundle.get("refused", {}).items():
        left_out = f"left out: {name}, which {why}"
        parts += Content.styled(plain(left_out, 1000), "$text-warning").wrap(width)
    parts += [Content(""), rows(_facts(version, version.bundle), width)]
    return Content("\n").join(parts)


def _title(version: Version) -> Content:
    title = Content.styled(plain(f"{version.name}, version {version.number}"), "bold")
    if version.labels:
        title += Content.styled("  " + plain(", ".join(version.labels)), "$text-primary")
    if version.before:
        title += Content.styled(f"  was {plain(', '.join(version.before))} before", "dim")
    return title


def _serving(version: Version) -> list[Row]:
    server = version.server
    said = Content.styled(version.state, STYLES[version.state])
    if version.state == SERVING:
        said += " " + Content(plain(f"as {version.served_as}, by {version.format}"))
    if server is not None:
        said += Content.styled(f" · run {server.run}, {server.state}", "dim")
    pairs: list[Row] = [("state", said)]
    if version.error:
        pairs.append(("", Content.styled(plain(version.error, 600), "$text-error")))
    if server is not None and server.http:
        token = " · asks for a token" if server.needs_token else ""
        grpc = f" · gRPC {server.grpc}" if server.grpc else ""
        pairs.append(("at", plain(f"{server.http}{grpc}{token}", 300)))
    if server is not None and version.state == SERVING:
        pairs += _load(version, server)
    return pairs


def _load(version: Version, server: Server) -> list[Row]:
    figures = version.fares or server.figures
    if figures.rate is None:
        return [("requests", "no figures yet")]
    spark = sparkline(figures.rates, min(_SPARK, len(figures.rates)), max(figures.rates))
    times = "nothing was asked in the last minute"
    if figures.p50 is not None and figures.p99 is not None:
        times = f"p50 {compact(figures.p50)} ms, p99 {compact(figures.p99)} ms"
    many = "1 error" if figures.errors == 1 else f"{figures.errors:,} errors"
    wrong = Content.styled(many, "bold $text-error" if figures.errors else "")
    memory = "" if figures.memory_mb is None else f" · {figures.memory_mb:.0f} MB"
    whole = server.figures.memory_mb
    if memory and version.figures and whole is not None:
        memory = f" · about {figures.memory_mb:.0f} of the server's {whole:.0f} MB"
    together = f" · of all {server.serves} versions that it serves" if version.together else ""
    return [
        (
            "requests",
            Content.assemble(
                (f"{compact(figures.rate)} a second ", "bold"), (spark, "$text-primary")
            ),
        ),
        ("times", times),
        ("", Content.assemble(wrong, f" in the last minute{memory}", (together, "dim"))),
    ]


def formats(bundle: Bundle, width: int) -> Content:
    """A line for each format; columns from the right are left out where it is narrow."""
    table = [words.TITLES, *(words.figures(n, form) for n, form in bundle["formats"].items())]
    widths = [max(cell_len(row[at]) for row in table) for at in range(len(words.TITLES))]
    while len(widths) > 1 and sum(widths) + 2 * (len(widths) - 1) > width:
        widths.pop()
    made = []
    for place, row in enumerate(table):
        cells = [plain(row[0]).ljust(widths[0])]
        cells += [row[at].rjust(widths[at]) for at in range(1, len(widths))]
        style = "dim" if not place else "$text-error" if "FORCED" in row[0] else ""
        made.append(Content.styled("  ".join(cells), style))
    return Content("\n").join(made)


def _facts(version: Version, bundle: Bundle) -> list[Row]:
    pairs = [(name, plain(value, 400)) for name, value in words.origin(bundle) if name != "privacy"]
    privacy = bundle.get("privacy", {}).get("words", words.NOT_COVERED)
    pairs.append(("privacy", plain(str(privacy), 500)))
    signature = bundle.get("signature")
    sides = ((signature["inputs"], "in"), (signature["outputs"], "out")) if signature else ()
    for tensors, told in sides:
        for name, tensor in tensors.items():
            kind = f"{name}: {tensor['dtype']} {words.shape(tensor['shape'])}"
            pairs.append((told, plain(f"{kind}; {words.what(tensor)}", 300)))
    where = f"models/{version.key} of the home" if version.own else str(version.folder)
    pairs.append(("folder", plain(where, 400)))
    return [*pairs]
