"""What people read of a model: one place for lists, cards and screens."""

from __future__ import annotations

from typing import Any

from traindeck.core.models.bundle import Bundle, Format
from traindeck.core.privacy.bounds import at_most

TITLES = (
    *("format", "largest error", "same decision", "right", "bytes"),
    *("ms for 1", "for 32", "MB"),
)
"""Of what `figures` gives."""
NOT_COVERED = "not covered"


def privacy(bundle: Bundle | None) -> str:
    """The privacy of a model in a few words."""
    said = bundle.get("privacy", {}) if bundle else {}
    epsilon = said.get("epsilon")
    if said.get("covered") and isinstance(epsilon, int | float):
        return f"epsilon {at_most(epsilon)} at delta {said.get('delta', 0):g}"
    return NOT_COVERED


def figures(name: str, form: Format) -> tuple[str, ...]:
    """How a format fared, as `TITLES` has it; empty where nothing was measured."""
    parity, latency = form.get("parity", {}), form.get("latency", {})
    error, agreement, right = (parity.get(k) for k in ("largest_error", "agreement", "accuracy"))
    return (
        name + (" FORCED" if parity.get("forced") else ""),
        "" if error is None else f"{error:.1e}",
        "" if agreement is None else f"{agreement:.2%}",
        "" if right is None else f"{right:.2%}",
        f"{form.get('bytes', 0):,}",
        *(f"{latency[b]['p50']:.3g}" if b in latency else "" for b in ("1", "32")),
        f"{latency['peak_mb']:.0f}" if "peak_mb" in latency else "",
    )


def calibrated(form: Format) -> str:
    """What a format's scales are of, in words; empty where it has none."""
    said = form.get("calibration")
    if not said:
        return ""
    out, over = said.get("test_records_left_out"), form.get("parity", {}).get("records")
    measured = f"; measured over the {over} other test records" if out else ""
    if out is None:  # a bundle of before
        measured = "; measured over these too" if "test" in str(said.get("data")) else ""
    return f"scales of {said.get('records')} records of {said.get('data')}{measured}"


def shape(sizes: list[int | None]) -> str:
    """A tensor's shape with its batch: `(n, 8, 8)`."""
    return f"({', '.join('any' if n is None else str(n) for n in ('n', *sizes))})"


def what(tensor: Any, labels: int = 3) -> str:
    """What a tensor holds, its unit, and the first of its labels."""
    parts = [tensor.get("what", ""), tensor.get("unit", "")]
    if words := tensor.get("labels"):
        few = ", ".join(words[:labels])
        parts.append(f"{len(words)} labels: {few}{' …' if len(words) > labels else ''}")
    return "; ".join(filter(None, parts))


def origin(bundle: Bundle) -> list[tuple[str, str]]:
    """Where a model comes from, by name: run, accuracy, privacy, what it was proven over."""
    run = bundle.get("run", {})
    accuracy = run.get("accuracy")
    facts = [
        (
            "from",
            f"run {run.get('id')} of {run.get('recipe')} on {run.get('data', {}).get('name')}",
        ),
        ("accuracy", f"{accuracy:.2%}, by the run itself" if isinstance(accuracy, float) else ""),
        ("privacy", privacy(bundle)),
        ("proven", f"over {bundle['records']}" if "records" in bundle else ""),
        *((name, calibrated(form)) for name, form in bundle["formats"].items()),
    ]
    return [(name, value) for name, value in facts if value]
