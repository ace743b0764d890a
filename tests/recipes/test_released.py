"""All that a private run leaves behind, run with a record and without it, its noise left out.

What differs must be what the noise would have covered, or what the threat model's list names.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import traindeck.recipes
from tests.leaves import leaves
from tests.training.idxfiles import drawings, packed, write
from traindeck.core.run.points import read_names

pytestmark = [pytest.mark.framework, pytest.mark.slow]
RECIPES = Path(traindeck.recipes.__file__).parent
ROOT = Path(__file__).parent.parent.parent
RECORDS = 61
NOISED = {"model", "average", "velocities", "velocity", "scores"}
KEYED = {"data", "seal"}  # by the home's secret, which never leaves it
OF_THE_WEIGHTS = {"sha256"}  # of the checkpoint file
OF_THE_RUN = {"run", "charged", "t"}
MAY_DIFFER = NOISED | KEYED | OF_THE_WEIGHTS | OF_THE_RUN
OF_TIME = re.compile(r"[\d.]+ s$|test loss.*(?= {2})")  # and the model's, which is noised


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x, y = drawings(RECORDS, 1)
    names = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte")
    names += ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
    files = zip(names, map(packed, (x, y, *drawings(20, 2))), strict=True)
    return write(tmp_path_factory.mktemp("released") / "data", dict(files))


def arrays(path: Path) -> Iterator[tuple[str, Any]]:
    """What a checkpoint or an audit's scores hold, with shapes and types."""
    if path.suffix == ".pt":
        import torch

        named = leaves(torch.load(path, weights_only=True), path.name)
        pairs = [(place, x.numpy() if isinstance(x, torch.Tensor) else x) for place, x in named]
    else:
        with np.load(path, allow_pickle=False) as state:
            pairs = [(f"{path.name}/{name}", state[name]) for name in state.files]
    for place, value in pairs:
        if isinstance(value, np.ndarray) and value.ndim:
            if path.name != "audit.npz":  # half of the canaries, by coins
                yield f"{place} shape", (value.shape, str(value.dtype))
            yield place, value.tolist()
        else:
            yield place, getattr(value, "tolist", lambda value=value: value)()


def released(folder: Path, printed: str) -> dict[str, Any]:
    out: dict[str, Any] = {"files": sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))}
    for path in folder.glob("artifacts/checkpoint-*"):
        out |= dict(arrays(path))
    for path in folder.glob("artifacts/audit.npz"):
        out |= {f"scores/{place}": value for place, value in arrays(path)}
    for path in (
        *folder.glob("artifacts/.*.json"),
        folder / "params.json",
        folder / "privacy.json",
    ):
        out |= dict(leaves(json.loads(path.read_text()), path.name))
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    # How many steps are paid for at once goes by the time that steps take.
    out |= dict(leaves([one for one in events if one["type"] != "spend"], "events"))
    out["series"] = sorted(read_names(folder))
    lines = [line for line in printed.splitlines() if not line.startswith("step 1 ")]
    out["printed"] = [OF_TIME.sub("?", line) for line in lines]
    return out


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("recipe", ["mnist_dp", "mnist_scatter_dp", "cancer_dp"])
def test_only_what_noise_covers_depends_on_a_record(
    recipe: str, framework: str, data: Path, tmp_path: Path
) -> None:
    path = RECIPES / framework / f"{recipe}.py"
    driver = [sys.executable, "-m", "tests.recipes.without_noise"]
    flags = ["--audit", "--no-self-test", "--noise-multiplier=1.5", "--epsilon=inf"]
    if recipe == "cancer_dp":
        flags += ["--steps=20"]
    else:  # of 60,000 records by their bound, a third in each batch
        flags += [f"--data-dir={data}", "--batch-size=20000", "--epochs=1"]
    both = []
    for left_out in ("0", "1"):
        folder = tmp_path / left_out / "run"
        folder.parent.mkdir()
        done = subprocess.run(
            [*driver, path, left_out, f"--run-folder={folder}", *flags],
            env={"TRAINDECK_HOME": str(folder.parent / "home"), "PATH": "/usr/bin:/bin"}
            | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"asked for [1-9]\d* values of noise", done.stderr)
        printed = (done.stdout + done.stderr).replace(str(folder), "")
        text = json.dumps(released(folder, printed)).replace(str(folder), "")
        both.append(json.loads(text))
    with_it, without = both
    assert with_it.keys() == without.keys()
    differ = {place for place in with_it if with_it[place] != without[place]}
    unexplained = {place for place in differ if not MAY_DIFFER & set(place.split("/"))}
    assert {place: (with_it[place], without[place]) for place in unexplained} == {}
    assert any("model" in place.split("/") for place in differ)
    assert f"{RECORDS}" not in " ".join(map(str, with_it["printed"])).split()
