"""Where what is installed comes from: hashes of the runtime set, and known holes in the pins.

    python .ci/supply.py hashes         make .ci/hashes.txt anew, from the index that pip uses
    python .ci/supply.py verify         download the runtime set again, by those hashes alone
    python .ci/supply.py audit [PATH]   the pins of constraints.txt against advisories: JSON of OSV
                                         records or of pip-audit, or a folder of OSV records;
                                         default: .ci/advisories.json, if it is there

The runtime set is what `[project] dependencies` come to. Hashes are those of the wheels that the
index has for PLATFORMS and PYTHONS; extras (torch, tensorflow, syft …) are pinned and not hashed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
HASHES = ROOT / ".ci" / "hashes.txt"
ADVISORIES = ROOT / ".ci" / "advisories.json"
PLATFORMS = (
    ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"),
    ("manylinux_2_28_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64"),
    ("macosx_14_0_arm64", "macosx_11_0_arm64"),
)
PYTHONS = ("3.11", "3.12", "3.13")
HEAD = "# Wheels of the runtime set, by hash; made with `make hashes`, see .github/SECURITY.md.\n"


def pins() -> dict[str, str]:
    """The versions of constraints.txt, by canonical name."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = (line.split("==", 1) for line in lines if "==" in line)
    return {canonicalize_name(name): version for name, version in pairs}


def runtime() -> list[str]:
    """Canonical names of what the package needs to run, and of what that needs, as installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    found: set[str] = set()
    asked = [Requirement(each) for each in project["dependencies"]]
    while asked:
        one = asked.pop()
        name = canonicalize_name(one.name)
        if name in found or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        found.add(name)
        asked += [Requirement(each) for each in metadata.requires(name) or ()]
    return sorted(found)


def hashed() -> dict[str, tuple[str, list[str]]]:
    """What hashes.txt says: version and SHA-256s, by name."""
    found: dict[str, tuple[str, list[str]]] = {}
    for line in HASHES.read_text().replace("\\\n", " ").splitlines():
        if match := re.match(r"([^=#\s]+)==(\S+)\s", line):
            found[match[1]] = (match[2], re.findall(r"--hash=sha256:([0-9a-f]{64})", line))
    return found


def make_hashes() -> int:
    versions = pins()
    names = runtime()
    if unpinned := [name for name in names if name not in versions]:
        return _fail(f"not in constraints.txt: {', '.join(unpinned)}; `make constraints` pins them")
    sums: dict[str, set[str]] = {name: set() for name in names}
    for platform in PLATFORMS:
        for python in PYTHONS:
            wanted = [f"{name}=={versions[name]}" for name in names]
            found = _offered(wanted, platform, python)
            for pin in wanted if not found else ():  # one of them has no wheel there
                found |= _offered([pin], platform, python)
            for name, digest in found.items():
                sums[name].add(digest)
    if without := [name for name in names if not sums[name]]:
        return _fail(f"the index has no wheel of {', '.join(without)}")
    lines = [
        [f"{name}=={versions[name]}", *(f"--hash=sha256:{each}" for each in sorted(sums[name]))]
        for name in names
    ]
    HASHES.write_text(HEAD + "".join(" \\\n    ".join(line) + "\n" for line in lines))
    print(f"{len(names)} packages, {sum(map(len, sums.values()))} wheels in {HASHES}")
    return 0


def _offered(wanted: list[str], platform: tuple[str, ...], python: str) -> dict[str, str]:
    """SHA-256 of each wheel that pip would take there; none where it would not take all."""
    tags = [word for tag in platform for word in ("--platform", tag)]
    with tempfile.TemporaryDirectory() as folder:
        words = [
            "install",
            "--dry-run",
            "--quiet",
            "--report",
            "-",
            "--no-deps",
            "--target",
            folder,
        ]
        done = _pip(*words, "--only-binary", ":all:", "--python-version", python, *tags, *wanted)
    if done.returncode:
        return {}
    return {
        canonicalize_name(item["metadata"]["name"]): item["download_info"]["archive_info"][
            "hashes"
        ]["sha256"]
        for item in json.loads(done.stdout)["install"]
    }


def verify() -> int:
    with tempfile.TemporaryDirectory() as folder:
        words = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--requirement", HASHES)
        done = _pip("download", "--quiet", "--dest", folder, *map(str, words))
        if done.returncode:
            return _fail(done.stderr.strip())
        print(f"{len(list(Path(folder).iterdir()))} wheels are those of {HASHES.name}")
    return 0


def audit(place: Path) -> int:
    if not place.exists():
        print(
            f"audit: not run: there is no {place}. Put OSV records of the pins or pip-audit's JSON"
            " there; nothing is known of holes in what is pinned"
        )
        return 0
    versions, holes, records = pins(), [], 0
    for record in _records(place):
        records += 1
        holes += _holes(record, versions)
    for hole in sorted(set(holes)):
        print(hole)
    print(f"audit: {len(versions)} pins against {records} records: {len(set(holes))} holes")
    return 1 if holes else 0


def _records(place: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(place.glob("*.json")) if place.is_dir() else [place]:
        given = json.loads(path.read_text())
        if isinstance(given, dict):
            given = given.get("dependencies") or given.get("vulns") or [given]
        yield from (each for each in given if isinstance(each, dict))


def _holes(record: dict[str, Any], versions: dict[str, str]) -> Iterator[str]:
    if "affected" not in record:  # pip-audit: a package with its holes
        name = canonicalize_name(str(record.get("name")))
        if versions.get(name) == record.get("version"):
            yield from (
                f"{name} {versions[name]}: {hole['id']}" for hole in record.get("vulns", ())
            )
        return
    if record.get("withdrawn"):
        return
    for affected in record["affected"]:
        package = affected.get("package", {})
        name = canonicalize_name(str(package.get("name")))
        known = package.get("ecosystem") == "PyPI" and name in versions
        if known and _is_affected(versions[name], affected):
            words = (name, f"{versions[name]}:", record.get("id"), record.get("summary", ""))
            yield " ".join(str(word) for word in words).strip()


def _is_affected(version: str, affected: dict[str, Any]) -> bool:
    """By OSV's rule: it is listed, or lies in a range that was begun and not yet ended."""
    if version in affected.get("versions", ()):
        return True
    own = Version(version)
    for bounds in affected.get("ranges", ()):
        inside = False
        for event in bounds.get("events", ()) if bounds.get("type") == "ECOSYSTEM" else ():
            for kind, text in event.items():
                try:
                    at = Version("0" if text == "0" else text)
                except InvalidVersion:
                    continue
                if kind == "introduced" and own >= at:
                    inside = True
                elif (kind == "fixed" and own >= at) or (kind == "last_affected" and own > at):
                    inside = False
        if inside:
            return True
    return False


def _pip(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    return subprocess.run(command, capture_output=True, text=True)


def _fail(why: str) -> int:
    print(f"error: {why}", file=sys.stderr)
    return 1


def main() -> int:
    match sys.argv[1:]:
        case ["hashes"]:
            return make_hashes()
        case ["verify"]:
            return verify()
        case ["audit", *place] if len(place) < 2:
            return audit(Path(place[0]) if place else ADVISORIES)
    return _fail((__doc__ or "").partition("\n\n")[2].partition("\n\n")[0])


if __name__ == "__main__":
    sys.exit(main())
