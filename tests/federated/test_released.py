"""All that comes out of a private federation, run with one record and without it.

What differs must be noised, random, or what the threat model's list says is not covered.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import traindeck.recipes
from tests.federated import federated_tools as tools
from tests.leaves import leaves
from tests.training.idxfiles import drawings, packed, write
from traindeck.core.run.points import read_names
from traindeck.recipes.shared.training.data import datasets

pytestmark = [
    pytest.mark.slow,
    pytest.mark.framework,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
RECIPE = Path(traindeck.recipes.__file__).parent / "syft" / "fedavg.py"
RECORDS = 61
NOISED = {"weights", "velocity", "accuracy", "loss", "body", "clipping_norm"}
RANDOM = {"nonce", "seal", "session", "signature", "advert", "shares", "keys", "alive", "dropped"}
KEYED = {"data", "sha256", "seal"}  # of a checkpoint's origin; sha256 is that of the checkpoint
NAMES_A_RUN = {"t", "run", "charged"}
NOT_COVERED = {"seconds"}
MAY_DIFFER = NOISED | RANDOM | KEYED | NAMES_A_RUN | NOT_COVERED


def train(root: Path, records: int, *flags: str) -> tuple[Path, str]:
    """A run on so many records; what it printed."""
    x, y = drawings(RECORDS, 1)
    test = drawings(20, 2)
    arrays = (x[:records], y[:records], *test)
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    names += ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    place = root / str(records)
    data = write(place / "data", dict(zip(names, map(packed, arrays), strict=True)))
    folder = place / "run"
    words = [f"--run-folder={folder}", f"--data-dir={data}", "--keep-messages", *flags]
    done = subprocess.run(
        [sys.executable, str(RECIPE), *words],
        env={"TRAINDECK_HOME": str(root / "home"), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, (done.stdout + done.stderr).replace(str(place), "")


def released(folder: Path, printed: str) -> dict[str, Any]:
    """All that a run gives to others than the owners: files, series, letters, what it prints."""
    out: dict[str, Any] = {}
    for path in folder.glob("artifacts/*.json"):
        out.update(leaves(json.loads(path.read_text()), path.name))
    for path in folder.glob("artifacts/*.npz"):
        with np.load(path, allow_pickle=False) as state:
            for name in state.files:
                out[f"{path.name}/{name}"] = state[name].tolist()
                out[f"{path.name}/{name}/shape"] = state[name].shape
    coordinator = json.loads((folder / "federation" / "coordinator.json").read_text())
    out |= dict(leaves(coordinator, "coordinator"))
    for name in ("params.json", "privacy.json"):
        text = (folder / name).read_text().replace(str(folder.parent), "")
        out |= dict(leaves(json.loads(text), name))
    events = (folder / "events.jsonl").read_text().replace(str(folder.parent), "").splitlines()
    out |= dict(leaves([json.loads(line) for line in events], "events"))
    out["series"] = sorted(read_names(folder))
    letters: dict[str, int] = {}
    for sender, facts, body in tools.opened(folder / "federation"):
        number = letters[sender] = letters.get(sender, 0) + 1
        place = f"letter/{sender}/{number}"
        out |= dict(leaves(facts, place)) | {f"{place}/bytes": len(body), f"{place}/body": body}
    printed = re.sub(r"(?m)^step .*\n", "", printed)  # at most one a second: which is left to time
    out["printed"] = re.sub(r"\d+\.\d+|\b(nan|inf)\b|\d+ rounds a minute", "?", printed)
    return out


@pytest.mark.parametrize(
    "flags",
    [
        ("--dp=local", "--noise-multiplier=2", "--epsilon=inf", "--local-steps=1"),
        ("--dp=central", "--noise-multiplier=5", "--epsilon=inf", "--owners=3"),
        (
            *("--dp=central", "--noise-multiplier=5", "--epsilon=inf", "--owners=3"),
            "--clipping=adaptive",
        ),
    ],
    ids=["local", "central", "central adaptive"],
)
def test_only_what_is_noised_or_random_depends_on_a_record(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    runs = {count: train(tmp_path, count, "--rounds=2", *flags) for count in (RECORDS, RECORDS - 1)}
    with_it, without = (released(*run) for run in runs.values())
    assert with_it.keys() == without.keys()
    differ = {place for place in with_it if with_it[place] != without[place]}
    unexplained = {place for place in differ if not MAY_DIFFER & set(place.split("/"))}
    assert {place: (with_it[place], without[place]) for place in unexplained} == {}
    assert {"weights", "seal"} <= {part for place in differ for part in place.split("/")}

    # No count of records, and no hash of them, in anything; not even as a part.
    text = repr(with_it)
    assert f"{RECORDS} images" not in text and f"of {RECORDS}" not in text
    x, y = drawings(RECORDS, 1)
    for arrays in ((x, y), (x,), (y,)):
        whole = datasets.fingerprint(*arrays)
        assert not [
            h for h in (whole, hashlib.sha256(whole.encode()).hexdigest()) if h[:12] in text
        ]
