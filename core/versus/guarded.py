"""The axes of privacy and of hardware; see `axes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

from traindeck.core.federation.reader import read_federation
from traindeck.core.federation.status import FederationStatus
from traindeck.core.versus.axes import Both, run_command
from traindeck.core.versus.evidence import Evidence, Measured
from traindeck.core.versus.measured import Axis, Indicator, Sample, Source
from traindeck.core.versus.pairs import MIXED

_POWER = Path("/sys/class/powercap")


def privacy(evidence: Evidence) -> Axis:
    """What differential privacy costs, what leaves the owners, what PySyft adds."""
    make = run_command(evidence, full=True)
    why = "no private twin runs"
    lines = [
        Indicator("epsilon", _private(evidence, _epsilon), why=why, make=make,
                  note="of every run that is compared here: it must be the same"),
        Indicator("private: accuracy", evidence.series("dp", "test/accuracy"), "", "higher",
                  why=why, make=make, held=_other_epsilon(evidence)),
        Indicator("not private: accuracy", evidence.series("plain", "test/accuracy"), "", "higher",
                  why=why, make=make, note="the same recipes with epsilon inf"),
        Indicator("private: accuracy lost", _lost(evidence, "test/accuracy"), "", "lower",
                  why=why, make=make, note="seed by seed, against the same without privacy",
                  held=_other_epsilon(evidence)),
        Indicator("private: speed", evidence.series("dp", "examples_per_second"), "examples/s",
                  "higher", why=why, make=make, note="of the last steps that were logged",
                  held=_other_epsilon(evidence)),
    ]  # fmt: skip
    why = "no federated runs"
    for title, unit, figure, note in _FEDERATED:
        lines.append(
            Indicator(f"PySyft: {title}", _federated(evidence, figure), unit, why=why, make=make,
                      note=note)
        )  # fmt: skip
    kinds = sorted({
        kind
        for at in (0, 1)
        for run in evidence.of("federated", at)
        for owner in _status(run).owners
        for kind in owner.bytes_out
    })  # fmt: skip
    for kind in kinds:
        lines.append(
            Indicator(f"PySyft: {kind} bytes", _federated(evidence, _bytes(kind)), "kB", why=why,
                      make=make, note="that left an owner in a round, mean of owners and rounds")
        )  # fmt: skip
    lines.append(Indicator("the aggregator can read", _visible(evidence), why=why, make=make))
    audited = "traindeck audit RUN, of a run made with -p audit=true"
    lines.append(
        Indicator(
            "audits that found more than claimed",
            _audits(evidence),
            why="no run was audited",
            make=audited,
        )
    )
    return Axis("privacy", "privacy and security", tuple(lines))


def _epsilon(run: Measured) -> float | None:
    said = (run.doc["privacy"] or {}).get("planned") or {}
    value = said.get("epsilon")
    return float(value) if isinstance(value, int | float) else None


def _private(evidence: Evidence, value: Callable[[Measured], float | None]) -> Both:
    return evidence.sample("dp", 0, value), evidence.sample("dp", 1, value)


def _other_epsilon(evidence: Evidence) -> str:
    """Why what is private must not be compared; empty where epsilon is the same within 1 %."""
    a, b = _private(evidence, _epsilon)
    if a is None or b is None:
        return "epsilon is not known of both" if evidence.of("dp", 0) else ""
    if abs(a.median - b.median) <= 0.01 * a.median and max(a.range, b.range) <= 0.01 * a.median:
        return ""
    return f"epsilon differs: {a.median:.3g} and {b.median:.3g}"


def _lost(evidence: Evidence, series: str) -> Both:
    def one(at: int) -> Sample | None:
        plain = {
            run.doc["params"].get("seed"): run.last(series) for run in evidence.of("plain", at)
        }

        def lost(run: Measured) -> float | None:
            before, after = plain.get(run.doc["params"].get("seed")), run.last(series)
            return before - after if before is not None and after is not None else None

        return evidence.sample("dp", at, lost)

    return one(0), one(1)


def _status(run: Measured) -> FederationStatus:
    return read_federation(run.folder) or FederationStatus()


def _federated(evidence: Evidence, figure: Callable[[FederationStatus], float | None]) -> Both:
    def value(run: Measured) -> float | None:
        return figure(_status(run))

    return evidence.sample("federated", 0, value), evidence.sample("federated", 1, value)


def _round_seconds(status: FederationStatus) -> float | None:
    """The median round, the first apart: owners load their framework in it."""
    known = [each.seconds for each in status.rounds[1:] if each.seconds]
    return median(known) if known else None


def _rounds_a_minute(status: FederationStatus) -> float | None:
    seconds = _round_seconds(status)
    return 60 / seconds if seconds else None


def _overhead(status: FederationStatus) -> float | None:
    """A round over what its slowest owner trained in it: what all else costs, as a factor."""
    seconds = _round_seconds(status)
    training = [owner.seconds for owner in status.owners if owner.seconds]
    return seconds / max(training) if seconds and training else None


def _bytes(kind: str) -> Callable[[FederationStatus], float | None]:
    def figure(status: FederationStatus) -> float | None:
        left = [owner.bytes_out.get(kind, 0) for owner in status.owners]
        rounds = len(status.rounds)
        return sum(left) / len(left) / rounds / 1000 if left and rounds else None

    return figure


_FEDERATED: tuple[tuple[str, str, Callable[[FederationStatus], float | None], str], ...] = (
    ("rounds a minute", "rounds", _rounds_a_minute, "the first round apart"),
    ("overhead over training in the clear", "×", _overhead,
     "a median round over what its slowest owner trained in the last; the same model"),
)  # fmt: skip


def _visible(evidence: Evidence) -> Both:
    def one(at: int) -> Sample | None:
        for run in evidence.of("federated", at)[-1:]:
            status = _status(run)
            said = status.visible or status.aggregation
            return Sample(text=said, sources=(run.source,)) if said else None
        return None

    return one(0), one(1)


def _audits(evidence: Evidence) -> Both:
    """Of all audited runs of a framework: how many attacks measured more than was claimed."""

    def one(at: int) -> Sample | None:
        framework = evidence.suite.sides[at].framework
        audits = [
            (doc["id"], said)
            for doc in evidence.others
            if doc["framework"] == framework
            and isinstance(said := (doc["privacy"] or {}).get("audit"), dict)
        ]
        if not audits:
            return None
        broken = sum(bool(said.get("violated")) for _, said in audits)
        sources = tuple(Source(run) for run, _ in audits)
        return Sample(text=f"{broken} of {len(audits)}", sources=sources)

    return one(0), one(1)


def hardware(evidence: Evidence, found: list[str]) -> Axis:
    """What is there, what was used, and what a second worker brings. `found`: devices, in words."""
    here = Sample(text=", ".join(found), sources=(Source(command="traindeck devices"),))
    power = "no recipe of either measures it" if _sensors() else "no power sensor is readable here"
    lines = [
        Indicator("devices found", (here, here)),
        Indicator("devices used", (_used(evidence, 0), _used(evidence, 1)),
                  why="no runs of the comparison", make=run_command(evidence)),
        Indicator("memory of a twin", (_memory(evidence, 0), _memory(evidence, 1)), "MB", "lower",
                  why="no twin runs", make=run_command(evidence),
                  note="most of all its processes, as seen once a second"),
        Indicator("speed at 2 workers over 1", (_scaling(evidence, 0), _scaling(evidence, 1)), "×",
                  why="no runs with 1 and 2 workers", make=run_command(evidence, full=True),
                  note="images a second of the MNIST twins, seed by seed; a core each, batches of"
                       " 512 shared out"),
        *_mixed(evidence),
        Indicator("examples a joule", (None, None), why=power),
    ]  # fmt: skip
    return Axis("hardware", "hardware", tuple(lines))


def _sensors() -> bool:
    return any(_POWER.glob("*/energy_uj"))


def _memory(evidence: Evidence, at: int) -> Sample | None:
    return evidence.sample("twin", at, Measured.peak_memory)


def _used(evidence: Evidence, at: int) -> Sample | None:
    runs = [run for (_, side), each in evidence.runs.items() if side == at for run in each]
    devices = sorted({run.doc["device"] for run in runs})
    sources = tuple(run.source for run in runs)
    return Sample(text=", ".join(devices), sources=sources) if devices else None


def _scaling(evidence: Evidence, at: int) -> Sample | None:
    def speed(run: Measured) -> float | None:
        return run.middle("examples_per_second")

    return evidence.over("scaling:mnist:2", "scaling:mnist:1", at, speed)


def _mixed(evidence: Evidence) -> Iterator[Indicator]:
    """What mixed precision does to each framework's steps; below 1 their speed suffers by it."""
    for mode in MIXED:
        for name, series in (("speed", "examples_per_second"), ("CPU a step", "cpu_ms_per_step")):

            def last(run: Measured, series: str = series) -> float | None:
                return run.last(series)

            a, b = (
                evidence.over(f"steps:{mode}:bfloat16", f"steps:{mode}", at, last) for at in (0, 1)
            )
            yield Indicator(
                f"{mode} bfloat16: {name}",
                (a, b),
                "× float32",
                why=f"no steps were timed in mode {mode} at bfloat16",
                make=run_command(evidence, full=mode != MIXED[0]),
                note="mixed precision over float32, the same steps, seed by seed",
            )
