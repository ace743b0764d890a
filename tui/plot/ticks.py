"""Where the marks on an axis go and what stands beside them.

A tick is a whole number times a power of ten, and its label is written from those two, never from a
rounded float: two ticks never carry the same label, whatever the range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from traindeck.core.base.format import compact

_SI = ((0, ""), (3, "k"), (6, "M"), (9, "G"), (12, "T"))
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200)

_STRIDES = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)


@dataclass(frozen=True, slots=True)
class Tick:
    value: float
    label: str


@lru_cache(maxsize=512)
def linear_ticks(low: float, high: float, most: int, whole: bool = False) -> tuple[Tick, ...]:
    """At most `most` ticks from `low` to `high` at 1, 2, 2.5 or 5 times a power of ten.

    `whole` keeps to whole numbers (steps). Empty if the range has no such place.
    """
    if most < 1 or not (math.isfinite(low) and math.isfinite(high)) or high < low:
        return ()
    first, last = Fraction(low), Fraction(high)
    span = last - first
    if not span:
        return ()
    exponent = math.floor(_log10(span / most)) - 1
    if whole:
        exponent = max(exponent, 0)
    for attempt in range(16):
        power = exponent + attempt // 4
        multiple, shift = ((1, 0), (2, 0), (25, -1), (5, 0))[attempt % 4]
        if whole and power + shift < 0:
            continue
        step = multiple * Fraction(10) ** (power + shift)
        start, stop = math.ceil(first / step), math.floor(last / step)
        if stop - start < most:
            numbers = [number * multiple for number in range(start, stop + 1)]
            return _labelled(numbers, power + shift)
    return ()


@lru_cache(maxsize=512)
def log_ticks(low: float, high: float, most: int) -> tuple[Tick, ...]:
    """At most `most` ticks from `low` to `high` (both above 0): decades if there are enough."""
    if most < 1 or not 0 < low < high < math.inf:
        return ()
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    decades = last - first + 1
    if decades >= 2:
        wanted = -(-decades // most)
        stride = next(n for n in _STRIDES if n >= wanted)
        start = first + -first % stride
        places = [(1, exponent) for exponent in range(start, last + 1, stride)]
        for multiples in ((1, 2, 5), (1, 3)):
            fine = _within(low, high, multiples, first - 1, last)
            if stride == 1 and len(fine) <= most:
                places = fine
                break
    else:
        places = _within(low, high, (1, 2, 5), first - 1, last)
        if len(places) < 2:
            return linear_ticks(low, high, most)
        if len(places) > most:
            places = places[:: len(places) - 1] if most > 1 else places[:1]
    ticks = [_labelled([number], exponent)[0] for number, exponent in places]
    return tuple(tick for tick in ticks if 0 < tick.value < math.inf)


@lru_cache(maxsize=512)
def time_ticks(low: float, high: float, most: int) -> tuple[Tick, ...]:
    """At most `most` ticks on an axis of elapsed seconds, at round times of the clock."""
    if most < 1 or not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return ()
    if high - low < 2 * most and high - low < 20:
        plain = linear_ticks(low, high, most)
        return tuple(Tick(tick.value, f"{tick.label}s") for tick in plain)
    for step in _time_steps():
        start, stop = math.ceil(low / step), math.floor(high / step)
        if stop - start < most:
            return tuple(Tick(float(n * step), elapsed(n * step)) for n in range(start, stop + 1))
        if step > high - low:
            break
    return ()


def elapsed(seconds: int) -> str:
    """Whole seconds in their two largest units: `1h30m`, `2d`, `45s`. Exact for round times."""
    if seconds < 0:
        return "-" + elapsed(-seconds)
    parts = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def short(value: float) -> str:
    """A value in about six characters: `0.9853`, `0.0342`, `1.25e-7`, `17430`, `1.78e+05`."""
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.2e}".split("e")
    power = int(f"{value:.3e}".split("e")[1])
    if -5 < power < 4:
        return f"{value:.{3 - power if power >= 0 else 4 if power == -1 else 2 - power}f}"
    power = int(exponent)
    if power >= 3:
        return compact(value)  # as everywhere else: the same value must not look like another
    return f"{mantissa.rstrip('0').rstrip('.')}e{power}"


def _time_steps() -> list[int]:
    days = [86400 * multiple * 10**power for power in range(9) for multiple in (1, 2, 5)]
    return [*_TIME_STEPS, *days]


def _log10(value: Fraction) -> float:
    """Of any positive fraction, also one that no float can hold."""
    return math.log10(value.numerator) - math.log10(value.denominator)


def _within(
    low: float, high: float, multiples: tuple[int, ...], first: int, last: int
) -> list[tuple[int, int]]:
    bottom, top = Fraction(low), Fraction(high)
    return [
        (multiple, exponent)
        for exponent in range(first, last + 1)
        for multiple in multiples
        if bottom <= multiple * Fraction(10) ** exponent <= top
    ]


def _labelled(numbers: list[int], exponent: int) -> tuple[Tick, ...]:
    """Ticks at numbers x 10^exponent, all labelled in the one notation that is shortest."""
    if not numbers:
        return ()
    values = [float(f"{number}e{exponent}") for number in numbers]
    top = max((len(str(abs(number))) for number in numbers if number), default=1) - 1 + exponent
    # Scientific notation costs two characters more than it takes: people read it slower.
    candidates = [(2, [_scientific(number, exponent, top) for number in numbers])]
    if exponent >= -12 and top < 18:
        for power, suffix in _SI:
            if power <= max(top, 0):
                labels = [_decimal(number, exponent - power, suffix) for number in numbers]
                candidates.insert(0, (0, labels))
        candidates.reverse()
    labels = min(candidates, key=lambda each: each[0] + max(map(len, each[1])))[1]
    return tuple(Tick(value, label) for value, label in zip(values, labels, strict=True))


def _decimal(number: int, exponent: int, suffix: str = "") -> str:
    """number x 10^exponent in full, with as many decimals as the exponent asks for."""
    if not number:
        return "0"
    digits = str(abs(number))
    if exponent >= 0:
        digits += "0" * exponent
    else:
        digits = digits.rjust(1 - exponent, "0")
        digits = f"{digits[:exponent]}.{digits[exponent:]}"
    return f"{'-' if number < 0 else ''}{digits}{suffix}"


def _scientific(number: int, exponent: int, top: int) -> str:
    return _decimal(number, exponent - top, f"e{top}") if number else "0"
