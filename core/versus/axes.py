"""The axes of use: how hard it is to write, how it computes, what it brings, how it is served.

Privacy and hardware are in `guarded`. Each axis is made of evidence alone: of runs, of bundles, of
what is installed here.
"""

from __future__ import annotations

from collections.abc import Callable

from traindeck.core.base.errors import TraindeckError
from traindeck.core.serving import address
from traindeck.core.versus import footprint
from traindeck.core.versus.evidence import Evidence, Measured, mistakes
from traindeck.core.versus.measured import Axis, Indicator, Sample, Source
from traindeck.core.versus.syntax import FRAMEWORKS, count

LOSS_DIGITS = 1e-5
"""How far, relative to it, a loss of the first five steps may lie from the other framework's."""
FIRST = 5
Both = tuple[Sample | None, Sample | None]
RUN = "traindeck versus run"


def run_command(evidence: Evidence, full: bool = False) -> str:
    """What queues all that is missing."""
    words = [RUN, "--full" if full else "", evidence.suite.typed]
    return " ".join(word for word in words if word)


def ease(evidence: Evidence) -> Axis:
    """Lines and names to read, seconds to the first metric, words of errors."""
    make = run_command(evidence)
    lines = [
        Indicator("lines of code", _counted(evidence, lambda c: c[0]), "lines", "lower",
                  note="without header, comments, docstrings; of the recipe alone"),
        Indicator("names to know", _counted(evidence, lambda c: c[1]), "names", "lower",
                  note="of the framework, written in the recipe; methods of its values apart"),
        Indicator(
            "first metric",
            _each(evidence, "twin", Measured.first_metric_seconds),
            "s", "lower", why="no twin runs", make=make,
            note="from the start of the process, imports and all",
        ),
    ]  # fmt: skip
    for name in ("shape", "dtype", "nan", "nan, asked for"):
        said = "NaN" if name == "nan" else name.replace("nan", "NaN")
        lines.append(
            Indicator(
                f"words for a wrong {said}" if "nan" not in name else f"words for a {said}",
                _mistake(evidence, name), "words", why="no run of the mistakes", make=make,
                note=_MISTAKE_NOTES.get(name, ""),
            )
        )  # fmt: skip
    return Axis("ease", "ease of use", tuple(lines))


_MISTAKE_NOTES = {
    "nan": "0: nothing is said",
    "nan, asked for": "with the framework's own check turned on",
}


def paradigm(evidence: Evidence) -> Axis:
    """Eager, graph, compiled: what the first step costs, and what it buys."""
    make = run_command(evidence)
    lines = []
    for mode in ("eager", "graph", "xla"):
        role = f"steps:{mode}"
        held = unequal(evidence, role)
        title = {"eager": "eager", "graph": "graph", "xla": "XLA"}[mode]
        only = "" if mode != "xla" else "PyTorch's XLA is a package of its own, not installed here"
        for name, series, unit, better in (
            ("first step", "first_step_seconds", "s", "lower"),
            ("compiling", "compile_seconds", "s", "lower"),
            ("steady speed", "examples_per_second", "examples/s", "higher"),
            ("CPU a step", "cpu_ms_per_step", "ms", "lower"),
            ("memory", "memory_mb", "MB", "lower"),
        ):
            both = evidence.series(role, series)
            if mode == "eager" and series == "compile_seconds":
                continue
            lines.append(
                Indicator(
                    f"{title}: {name}", both, unit, better,  # type: ignore[arg-type]
                    why=only or f"no steps were timed in mode {mode}", make="" if only else make,
                    held=held if series != "memory_mb" else "",
                    note=_PARADIGM_NOTES.get(series, ""),
                )
            )  # fmt: skip
    lines.append(
        Indicator(
            "programs that tracing refuses",
            _each(evidence, "mistakes", lambda run: run.last("tracing/refused"), exact=True),
            "of 4", "lower", why="no run of the mistakes", make=make, note=_refused(evidence),
        )
    )  # fmt: skip
    return Axis("paradigm", "programming paradigm", tuple(lines))


_PARADIGM_NOTES = {
    "first_step_seconds": "tracing and compiling included",
    "compile_seconds": "what the first five steps took beyond five steady ones",
    "cpu_ms_per_step": "processor time, all threads together",
    "memory_mb": "most that the process has held",
}


def unequal(evidence: Evidence, role: str) -> str:
    """Why speeds must not be compared; empty where the first five losses agree, seed by seed."""
    losses = [
        {run.doc["params"].get("seed"): _losses(run) for run in evidence.of(role, side)}
        for side in (0, 1)
    ]
    if not all(losses):
        return ""
    seeds = losses[0].keys() & losses[1].keys()
    if not seeds:
        return "no seed was run on both sides, so that their losses cannot be compared"
    for seed in sorted(seeds, key=str):
        a, b = losses[0][seed], losses[1][seed]
        if len(a) < FIRST or len(b) < FIRST:
            return f"seed {seed}: the first {FIRST} losses were not logged"
        worst = max(abs(x - y) / max(abs(x), 1e-9) for x, y in zip(a, b, strict=True))
        if not worst <= LOSS_DIGITS:
            return f"seed {seed}: the losses of the first {FIRST} steps differ by {worst:.1e}"
    return ""


def _losses(run: Measured) -> list[float]:
    return [value for _, step, value in run.points("loss") if 1 <= step <= FIRST]


def _refused(evidence: Evidence) -> str:
    said = []
    for at, label in enumerate(evidence.suite.labels):
        for run in evidence.of("mistakes", at)[-1:]:
            tracing = mistakes(run).get("tracing")
            if isinstance(tracing, dict):
                names = [
                    str(name)
                    for name, one in tracing.items()
                    if isinstance(one, dict) and one.get("raised")
                ]
                said.append(f"{label} refuses {', '.join(names) or 'none'}")
    return "; ".join(said)


def ecosystem(evidence: Evidence) -> Axis:
    """What is installed for each, from its metadata, and what models go in and out."""
    sides = evidence.suite.sides
    prints = [
        footprint.footprint(footprint.DISTRIBUTIONS[side.framework])
        if side.framework in footprint.DISTRIBUTIONS
        else None
        for side in sides
    ]
    source = (Source(command="traindeck versus show"),)

    def both(value: Callable[[footprint.Footprint], Sample]) -> Both:
        a, b = (value(one) if one else None for one in prints)
        return a, b

    why = "its metadata is not installed beside traindeck"
    lines = [
        Indicator("version", both(lambda one: Sample(text=", ".join(one.versions.values()),
                  sources=source)), why=why),
        Indicator("installed size", both(lambda one: Sample((one.bytes / 1e6,), source, True)),
                  "MB", "lower", why=why, note="with all that it needs"),
        Indicator("packages", both(lambda one: Sample((float(len(one.packages)),), source, True)),
                  "", "lower", why=why, note="with all that it needs"),
        Indicator("licences", both(lambda one: Sample(text=_licences(one.licences),
                  sources=source)), why=why),
        _syft(prints, source),
        Indicator("last release", (None, None), why="installed metadata holds no dates"),
        Indicator(
            "weights in caches",
            _pair(evidence, lambda at: Sample((float(footprint.cached_weights(
                sides[at].framework)),), source, True) if sides[at].framework in footprint.CACHES
                else None),
            "files", note="pretrained models that are reachable here without a network",
        ),
        Indicator("formats written", _pair(evidence, lambda at: _formats(evidence, at)),
                  why="no bundle", make=run_command(evidence)),
    ]  # fmt: skip
    return Axis("ecosystem", "community and ecosystem", tuple(lines))


def _syft(prints: list[footprint.Footprint | None], source: tuple[Source, ...]) -> Indicator:
    """What PySyft adds to what is there for each framework."""

    def added(one: footprint.Footprint | None) -> Sample | None:
        if one is None:
            return None
        more = footprint.footprint(footprint.DISTRIBUTIONS["syft"], one.packages)
        return Sample((more.bytes / 1e6,), source, True) if more else None

    a, b = (added(one) for one in prints)
    return Indicator("PySyft on top", (a, b), "MB", why="PySyft is not installed",
                     note="itself and what it needs that is not there yet")  # fmt: skip


def _licences(counts: dict[str, int]) -> str:
    shown = [f"{name} {number}" for name, number in list(counts.items())[:4]]
    rest = sum(list(counts.values())[4:])
    return ", ".join([*shown, f"others {rest}"] if rest else shown)


def deployment(evidence: Evidence) -> Axis:
    """Formats that answer as the model does, what they weigh and take."""
    make = run_command(evidence)
    lines = [
        Indicator("formats that pass", _pair(evidence, lambda at: _passing(evidence, at)),
                  why="no bundle", make=make, note="of those that can be made here"),
    ]  # fmt: skip
    forms = sorted({name for bundle, _ in evidence.bundles.values() for name in bundle["formats"]})
    for name in forms:
        for title, unit, figure in (
            ("largest error", "", lambda form: form.get("parity", {}).get("largest_error")),
            ("size", "kB", lambda form: form["bytes"] / 1000 if "bytes" in form else None),
            ("latency", "ms", lambda form: form.get("latency", {}).get("1", {}).get("p50")),
        ):
            both = _pair(evidence, lambda at, n=name, f=figure: _figure(evidence, at, n, f))  # type: ignore[misc]
            lines.append(
                Indicator(f"{name}: {title}", both, unit,
                          why="no bundle has it" if None in both else "",
                          note="median of one bundle's own trial, one record, one thread"
                          if title == "latency" else "")
            )  # fmt: skip
    formats = _served_formats(evidence)
    for title, figure, unit, note in _SERVED:
        lines.append(
            Indicator(f"served: {title}", _each(evidence, "serve", figure), unit,
                      why="no server of it was asked by turns",
                      make=run_command(evidence, full=True),
                      note="; ".join(each for each in (note, formats) if each))
        )  # fmt: skip
    return Axis("deployment", "deployment and serving", tuple(lines))


_SERVED: tuple[tuple[str, Callable[[Measured], float | None], str, str], ...] = (
    ("latency", lambda run: run.middle("serve/p50_ms"), "ms",
     "in the server, of one record by REST, one at a time"),
    ("memory", lambda run: run.last("serve/memory_mb"), "MB", ""),
    ("start-up", Measured.first_metric_seconds, "s",
     "from the start of the process until the model serves"),
)  # fmt: skip


def _served_formats(evidence: Evidence) -> str:
    """By which formats both were served: `PyTorch by onnx, TensorFlow by onnx`."""
    said = []
    for at, label in enumerate(evidence.suite.labels):
        for run in evidence.of("serve", at)[-1:]:
            there = address(run.folder)
            said += [f"{label} by {one['format']}" for one in (there["versions"] if there else ())]
    return ", ".join(said)


def _bundle_source(evidence: Evidence, at: int) -> tuple[Source, ...]:
    bundle, _ = evidence.bundles[at]
    return (Source(command=f"traindeck models show {bundle['name']}/{bundle['version']}"),)


def _passing(evidence: Evidence, at: int) -> Sample | None:
    if at not in evidence.bundles:
        return None
    forms = evidence.bundles[at][0]["formats"].values()
    passed = sum(not form.get("parity", {}).get("forced") for form in forms)
    return Sample((float(passed),), _bundle_source(evidence, at), True)


def _formats(evidence: Evidence, at: int) -> Sample | None:
    if at not in evidence.bundles:
        return None
    names = ", ".join(sorted(evidence.bundles[at][0]["formats"]))
    return Sample(text=names, sources=_bundle_source(evidence, at))


def _figure(
    evidence: Evidence, at: int, name: str, figure: Callable[..., float | None]
) -> Sample | None:
    if at not in evidence.bundles:
        return None
    form = evidence.bundles[at][0]["formats"].get(name)
    value = figure(form) if form else None
    if not isinstance(value, int | float):
        return None
    return Sample((float(value),), _bundle_source(evidence, at))


def _pair(evidence: Evidence, value: Callable[[int], Sample | None]) -> Both:
    return value(0), value(1)


def _each(
    evidence: Evidence,
    role: str,
    value: Callable[[Measured], float | None],
    *,
    exact: bool = False,
) -> Both:
    return _pair(evidence, lambda at: evidence.sample(role, at, value, exact=exact))


def _mistake(evidence: Evidence, name: str) -> Both:
    return evidence.series("mistakes", f"mistake/{name}/words", exact=True)


def _counted(evidence: Evidence, which: Callable[[tuple[int, int]], int]) -> Both:
    def one(at: int) -> Sample | None:
        recipe = evidence.suite.sides[at].recipe
        packages = FRAMEWORKS.get(recipe.framework, ())
        try:
            found = count(recipe.path.read_text("utf-8"), packages)
        except (OSError, UnicodeDecodeError, TraindeckError):
            return None
        source = Source(command=f"traindeck recipes {recipe.name}")
        return Sample((float(which((found.lines, len(found.names)))),), (source,), True)

    return _pair(evidence, one)
