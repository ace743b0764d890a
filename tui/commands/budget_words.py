"""How a privacy budget is told in the shell: its figures as words and rows."""

from __future__ import annotations

from typing import Any

from traindeck.core.privacy.bounds import at_least, at_most, percent

WORDS = {"why": "because:", "was": "was epsilon"}


def rows(one: dict[str, Any]) -> list[tuple[str, ...]]:
    """A budget, and below it the data sets that spend it too."""
    if "problem" in one:
        return [(one["name"], "damaged", "", "", "", "", "")]
    gate = one["filter"]
    used = gate["rho_spent"] + gate["rho_reserved"]
    share = "exposed" if one["exposed"] else "frozen" if not gate["rho_budget"] else ""
    line = (
        one["name"],
        f"{one['epsilon_budget']:g}",
        f"{one['delta']:g}",
        one["unit"],
        epsilon(one["epsilon_spent_pld"]),
        share or percent(used / gate["rho_budget"]),
        str(len(one["runs"]) + len(one["exposures"])),
    )
    return [line, *((each["name"], f"of {each['of']}", *[""] * 5) for each in one["lineage"])]


def facts(found: dict[str, Any]) -> dict[str, str]:
    """What is known of a budget, by what it is called; empty where there is nothing to say."""
    gate = found["filter"]
    return {
        "exposed": found["exposed"],
        "data": found["fingerprint"] or "not pinned yet: the first run does that",
        "budget": f"epsilon {found['epsilon_budget']:g} at delta {found['delta']:g}"
        f" for one {found['unit']} ({found['relation']})"
        + ("" if gate["rho_budget"] else ": frozen, it admits nothing more"),
        "filter": _filter(gate, bool(found["exposed"])),
        "PLD": f"epsilon {epsilon(found['epsilon_spent_pld'])} spent, had this schedule been fixed"
        f" in advance ({found['accountant']})",
        "naive sum": "epsilon infinite"
        if found["exposed"]
        else f"epsilon {epsilon(found['epsilon_naive_sum'])} at delta"
        f" {found['delta_naive_sum']:g}: each run's own epsilon and delta added up",
        "risk": found["risk"]["sentence"] if found["risk"] else "not known, see below",
        "lineage": ", ".join(f"{one['name']} ({one['kind']})" for one in found["lineage"]),
        "verified": "the chain is whole" if found["verified"] else "",
    }


def _filter(gate: dict[str, Any], exposed: bool) -> str:
    budget, spent, reserved = (gate[key] for key in ("rho_budget", "rho_spent", "rho_reserved"))
    left = budget - spent - reserved
    in_full = (
        f"[Rényi divergence of order {gate['order']:g}: {spent:.4g} spent, {reserved:.4g} reserved,"
        f" {left:.4g} of {budget:.4g} left]"
    )
    if exposed:
        return f"it limits what private runs add, and protects nothing any more {in_full}"
    if not budget:
        return f"nothing is left {in_full}"
    return (
        f"{percent(spent / budget)} spent, {percent(reserved / budget)} reserved,"
        f" {percent(left / budget, at_least)} left {in_full}"
    )


def charges(found: dict[str, Any]) -> list[tuple[str, ...]]:
    """A budget's runs, and below them those that exposed it."""
    return [
        *(_charge(found, run) for run in found["runs"]),
        *(
            (one["run"], one["recipe"], "exposed", *"–––", "all", "infinite", one["reason"])
            for one in found["exposures"]
        ),
    ]


def _charge(found: dict[str, Any], run: dict[str, Any]) -> tuple[str, ...]:
    budget, delta = found["filter"]["rho_budget"], run["delta"]
    other = "" if delta in (None, found["delta"]) else f" at delta {delta:g}"
    return (
        run["id"],
        run["recipe"],
        run["state"],
        str(run["reserved"]),
        str(run["committed"]),
        "–" if run["settled"] is None else str(run["settled"]),
        percent(run["rho_charged"] / budget) if budget else "–",
        epsilon(run["epsilon_planned"]) + other,
        run["quarantined"],
    )


def details(entry: dict[str, Any]) -> str:
    skipped = ("v", "n", "t", "type", "run", "prev", "hash", "who", "mechanism")
    told = [f"{WORDS.get(key, key)} {value}" for key, value in entry.items() if key not in skipped]
    if "mechanism" in entry:
        one = entry["mechanism"]
        told.append(f"noise {one['noise_multiplier']:g}, q {one['sampling_rate']:.4g}")
    return ", ".join(told)


def epsilon(value: float | None) -> str:
    return "infinite" if value is None else at_most(value, 4)
