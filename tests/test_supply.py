"""Where what is installed comes from: hashes of the runtime set, pins against advisories."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SUPPLY = ROOT / ".ci" / "supply.py"


@pytest.fixture
def supply(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SUPPLY.parent))
    import supply  # type: ignore[import-not-found]

    monkeypatch.setattr(supply, "pins", lambda: {"odd-name": "1.5.0"})
    made: ModuleType = supply
    return made


def osv(events: list[dict[str, str]], **changed: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    package = {"ecosystem": "PyPI", "name": "Odd_Name"}
    return {"id": "X-1", "affected": [{"package": package, "ranges": ranges, **changed}]}


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (osv([{"introduced": "0"}]), 1),
        (osv([{"introduced": "0"}, {"fixed": "1.5.0"}]), 0),
        (osv([{"introduced": "0"}, {"fixed": "1.5.1"}]), 1),
        (osv([{"introduced": "1.6"}]), 0),
        (osv([{"introduced": "0"}, {"last_affected": "1.5.0"}]), 1),
        (osv([{"introduced": "0"}, {"fixed": "1.0"}, {"introduced": "1.4"}]), 1),
        (osv([], versions=["1.5.0"]), 1),
        (osv([{"introduced": "0"}], package={"ecosystem": "npm", "name": "odd-name"}), 0),
        ({**osv([{"introduced": "0"}]), "withdrawn": "2026-01-01T00:00:00Z"}, 0),
        ({"dependencies": [{"name": "odd.name", "version": "1.5.0", "vulns": [{"id": "Y"}]}]}, 1),
        ({"dependencies": [{"name": "odd.name", "version": "1.4.0", "vulns": [{"id": "Y"}]}]}, 0),
    ],
)
def test_pins_are_held_against_advisories(
    supply: ModuleType, tmp_path: Path, record: dict[str, Any], found: int
) -> None:
    (tmp_path / "advisories.json").write_text(json.dumps(record))
    for place in (tmp_path / "advisories.json", tmp_path):
        assert supply.audit(place) == found


def test_without_advisories_it_says_that_it_was_not_run(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, SUPPLY, "audit", str(tmp_path / "none.json")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("audit: not run: there is no ")


def test_the_hashes_are_those_of_the_pinned_runtime_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SUPPLY.parent))
    import supply

    hashed = supply.hashed()
    assert set(hashed) == set(supply.runtime()), "`make hashes` makes them anew"
    pins = supply.pins()
    for name, (version, sums) in hashed.items():
        assert version == pins[name], f"{name}: `make hashes` makes them anew"
        assert sums, name
    assert "http" not in supply.HASHES.read_text()
