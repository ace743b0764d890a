"""Events as other libraries write them: what was spent here is accounted for there, and back.

    dp-accounting  an event as the dictionary of its fields, with `module_name` and `class_name` as
                   in `DpEvent.to_named_tuple`, or as the list that JSON makes of that tuple;
                   jax-privacy's plans and accounting hold such events, and write no files
    opacus         an accountant's `state_dict()`: its `history` holds [noise multiplier, sample
                   rate, steps]
    zcdp           what it is as rho of zCDP (Bun & Steinke 2016), and as mu of GDP (Dong, Roth & Su
                   2022) where that is exact

Only JSON is read, and of it only Gaussians, Poisson-sampled or not, any number of times: what is
anything else is refused by its name. Nothing that is read is imported or run.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from traindeck.core.base import strict
from traindeck.core.base.errors import UsageError
from traindeck.core.privacy.mechanism import MAX_STEPS, Mechanism

LIBRARY, OPACUS, PRV, ZCDP = "dp-accounting", "opacus", "opacus-prv", "zcdp"
WRITTEN = (LIBRARY, OPACUS, PRV, ZCDP)
READ = (LIBRARY, OPACUS)
MOST_KINDS = 1000
DEEPEST = 20
LEAST_RATE = 1e-9
_MODULE = "dp_accounting.dp_event"
_FIELDS = {
    "GaussianDpEvent": ("noise_multiplier",),
    "PoissonSampledDpEvent": ("sampling_probability", "event"),
    "SelfComposedDpEvent": ("event", "count"),
    "ComposedDpEvent": ("events",),
    "NoOpDpEvent": (),
}
_OPACUS = ("rdp", "prv", "gdp")
_AMPLIFIED = (
    "sampled batches are amplified, and only a central limit theorem says by how much: no bound"
)


@dataclass(frozen=True, slots=True)
class History:
    """What a file says was released: its format, and a mechanism for each kind of step."""

    format: str
    mechanisms: tuple[Mechanism, ...]


def written(events: Iterable[Mechanism], form: str, finite: bool) -> dict[str, Any]:
    """Events in another library's terms. Raises UsageError where it has none for them.

    finite  that no other run made epsilon infinite; else what is written says so as well
    """
    kinds = kinds_of(events)
    if form != LIBRARY and any(one.sampler == "truncated" for one in kinds):
        raise UsageError(
            f"a run's batches were drawn by truncated sampling, of which {form} knows nothing:"
            f" {LIBRARY} does"
        )
    finite = finite and all(one.noise_multiplier for one in kinds)
    if form == ZCDP:
        return _zcdp(kinds, finite)
    if form == LIBRARY:
        made = [_event(one) for one in kinds]
        if not finite:
            made.append(_named("NonPrivateDpEvent"))
        return _named("ComposedDpEvent", events=made)
    history: list[list[float | int]] = [
        [one.noise_multiplier, one.sampling_rate, one.steps] for one in kinds
    ]
    if not finite:
        history.append([0.0, 1.0, 1])
    return {"history": history, "mechanism": "rdp" if form == OPACUS else "prv"}


def kinds_of(events: Iterable[Mechanism]) -> list[Mechanism]:
    """Events as other libraries know them: without bands or passes, those alike as one."""
    return list(_summed(_plain(one) for one in events if one.steps))


def read(data: bytes, form: str = "") -> History:
    """What a file says was released. Raises UsageError for anything that cannot be accounted for.

    form  the format; else it is seen by what is there
    """
    try:
        value = strict.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            "the history is not JSON, and nothing else is read, for a checkpoint or pickle may run"
            " code: where it was made, `json.dumps(accountant.state_dict())` writes Opacus'"
            f" ({error})"
        ) from None
    form = form or (OPACUS if _is_opacus(value) else LIBRARY)
    try:
        steps = _of_opacus(value) if form == OPACUS else _of_event(value, 1, DEEPEST)
        kinds = tuple(_summed(steps, MOST_KINDS))
    except ValueError as error:
        raise UsageError(f"the history cannot be charged: {error}") from None
    if not kinds:
        raise UsageError("the history is empty: nothing was released")
    return History(form, kinds)


# Writing


def _plain(one: Mechanism) -> Mechanism:
    """Without bands, and samplers that amplify nothing: what is released, one by one."""
    if one.sampler == "truncated":
        return one
    sampler = "poisson" if one.release_rate < 1 else "none"
    return Mechanism(one.noise_multiplier, one.release_rate, one.releases, sampler)


def _named(name: str, **fields: Any) -> dict[str, Any]:
    return {"module_name": _MODULE, "class_name": name, **fields}


def _event(one: Mechanism) -> dict[str, Any]:
    event = _named("GaussianDpEvent", noise_multiplier=one.noise_multiplier)
    if one.sampler == "poisson":
        rate = one.sampling_rate
        event = _named("PoissonSampledDpEvent", sampling_probability=rate, event=event)
    if one.sampler == "truncated":
        event = _named(
            "TruncatedSubsampledGaussianDpEvent",
            dataset_size=one.records,
            sampling_probability=one.sampling_rate,
            truncated_batch_size=one.max_batch,
            noise_multiplier=one.noise_multiplier,
        )
    return _named("SelfComposedDpEvent", event=event, count=one.steps)


def _zcdp(kinds: list[Mechanism], finite: bool) -> dict[str, Any]:
    """rho of all together, and mu; rounded up."""
    made: dict[str, Any] = {"zcdp": {"rho": None, "xi": 0.0}, "gdp": {"mu": None}}
    if not finite:
        made["why_none"] = "a run has no finite epsilon"
        return made
    square = math.fsum(one.steps / one.noise_multiplier**2 for one in kinds)
    made["zcdp"]["rho"] = math.nextafter(square / 2, math.inf) if square else 0.0
    if any(one.sampling_rate < 1 for one in kinds):
        made["zcdp"]["supposes"] = (
            "zCDP knows no amplification: rho is that of all records' batches"
        )
        made["gdp"]["why_none"] = _AMPLIFIED
    else:
        made["gdp"]["mu"] = math.nextafter(math.sqrt(square), math.inf) if square else 0.0
    return made


# Reading


def _is_opacus(value: Any) -> bool:
    if isinstance(value, dict):
        return "history" in value
    return isinstance(value, list) and all(isinstance(one, list) for one in value)


def _of_opacus(value: Any) -> Iterator[Mechanism]:
    """Its accountants' state, or its history alone."""
    if isinstance(value, dict):
        if (name := value.get("mechanism", "rdp")) not in _OPACUS:
            raise ValueError(f"Opacus has no accountant {name!r}; it has {', '.join(_OPACUS)}")
        value = value.get("history")
    if not isinstance(value, list):
        raise ValueError("Opacus' history is a list of [noise multiplier, sample rate, steps]")
    for number, one in enumerate(value):
        if not isinstance(one, list) or len(one) != 3:
            raise ValueError(
                f"entry {number} of the history, {_short(one)}, is not [noise multiplier, sample"
                " rate, steps]"
            )
        yield _gaussian(*one)


def _of_event(value: Any, count: int, depth: int) -> Iterator[Mechanism]:
    """What so many of an event release, whether written by name or by place."""
    name, fields = _taken_apart(value)
    if not depth:
        raise ValueError(f"events are more than {DEEPEST} deep")
    match name:
        case "ComposedDpEvent":
            events = fields["events"]
            if not isinstance(events, list):
                raise ValueError("the events of a ComposedDpEvent are no list")
            for one in events:
                yield from _of_event(one, count, depth - 1)
        case "SelfComposedDpEvent":
            times = fields["count"]
            if type(times) is not int or not 0 <= times <= MAX_STEPS:
                raise ValueError(f"count {_short(times)} of a SelfComposedDpEvent is none")
            if times:
                yield from _of_event(fields["event"], count * times, depth - 1)
        case "PoissonSampledDpEvent":
            inner, gaussian = _taken_apart(fields["event"])
            if inner != "GaussianDpEvent":
                raise ValueError(f"a Poisson-sampled {inner} cannot be charged, a Gaussian can")
            yield _gaussian(gaussian["noise_multiplier"], fields["sampling_probability"], count)
        case "GaussianDpEvent":
            yield _gaussian(fields["noise_multiplier"], 1.0, count)


def _taken_apart(value: Any) -> tuple[str, dict[str, Any]]:
    """An event's class and fields. Raises ValueError for one that cannot be charged."""
    known = dict(value) if isinstance(value, dict) else {}
    if isinstance(value, list) and len(value) >= 2 and isinstance(value[1], str):
        names = ("module_name", "class_name", *_FIELDS.get(value[1], ()))
        known = dict(zip(names, value, strict=False)) if len(names) == len(value) else known
        known = known or {"module_name": value[0], "class_name": value[1]}
    name, module = known.pop("class_name", None), known.pop("module_name", None)
    if not isinstance(name, str):
        raise ValueError(
            f"{_short(value)} is no event: it lacks the class_name of `DpEvent.to_named_tuple`"
        )
    if module != _MODULE or name not in _FIELDS:
        raise ValueError(
            f"{_short(name)} of {_short(module)} is no mechanism that can be charged here:"
            " Gaussians are, Poisson-sampled or not, composed or not"
        )
    if known.keys() != set(_FIELDS[name]):
        raise ValueError(f"a {name} has {', '.join(_FIELDS[name])}, not {_short(sorted(known))}")
    return name, known


def _gaussian(noise: Any, rate: Any, steps: Any) -> Mechanism:
    from traindeck.core.privacy.accountant import LEAST_NOISE, MOST_NOISE

    sampler = "poisson" if rate != 1 else "none"
    one = Mechanism(noise, rate, steps, sampler)
    if one.noise_multiplier < LEAST_NOISE:
        raise ValueError(
            f"noise multiplier {one.noise_multiplier:g} is below {LEAST_NOISE}: there is no finite"
            " epsilon to charge"
        )
    if one.noise_multiplier > MOST_NOISE or one.sampling_rate < LEAST_RATE:
        raise ValueError(
            f"noise multiplier {one.noise_multiplier:g} at rate {one.sampling_rate:g} is beyond"
            f" what is accounted for: noise up to {MOST_NOISE:g}, rates from {LEAST_RATE:g} on"
        )
    return Mechanism(float(noise), float(rate), steps, sampler)


def _summed(steps: Iterable[Mechanism], most: float = math.inf) -> Iterator[Mechanism]:
    """Those alike as one, in the order in which they first came; so many kinds at most."""
    counts: dict[Mechanism, int] = {}
    for one in steps:
        kind = one.with_steps(0)
        counts[kind] = counts.get(kind, 0) + one.steps
        if len(counts) > most:
            raise ValueError(f"more than {most} kinds of steps")
    for kind, count in counts.items():
        if count:
            yield kind.with_steps(count)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:99]}…"
