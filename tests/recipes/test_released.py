"""All that a private run leaves behind, run with a record and without it, its noise left out.

What differs must be what the noise would have covered, or what the threat model's list names.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import traindeck.recipes
from tests.leaves import leaves
from tests.recipes.random_weights import lite0_tensors, safetensors
from tests.training.idxfiles import drawings, packed, write
from traindeck.core.run.points import read_names

pytestmark = [pytest.mark.framework, pytest.mark.slow]
RECIPES = Path(traindeck.recipes.__file__).parent
ROOT = Path(__file__).parent.parent.parent
RECORDS = 61
OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
NOISED = {"model", "average", "velocities", "velocity", "scores"}
KEYED = {"data", "seal"}  # by the home's secret, which never leaves it
OF_THE_WEIGHTS = {"sha256"}  # of the checkpoint file
OF_THE_RUN = {"run", "charged", "t"}
MAY_DIFFER = NOISED | KEYED | OF_THE_WEIGHTS | OF_THE_RUN
OF_TIME = re.compile(r"[\d.]+ s$|test loss.*(?= {2})")  # and the model's, which is noised
OF_NOW = re.compile(r"step \d+ {2}")  # series, of which lines are printed by the clock


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


def servable(folder: Path) -> Iterator[tuple[str, Any]]:
    """The weights that are published, and by its bytes all else that stands beside them."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".pt2":
            import torch

            program = torch.export.load(path)
            for name, tensor in program.state_dict.items():
                yield f"servable/average/{name} shape", (tuple(tensor.shape), str(tensor.dtype))
                yield f"servable/average/{name}", tensor.tolist()
            assert not any(tensor.any() for tensor in program.example_inputs[1].values())
            with zipfile.ZipFile(path) as archive:
                for name in archive.namelist():
                    if "/weights/weight_" not in name and not name.endswith("serialization_id"):
                        yield f"servable/{name}", hashlib.sha256(archive.read(name)).hexdigest()
        elif path.suffix == ".index":
            import tensorflow as tf

            reader = tf.train.load_checkpoint(str(path.with_suffix("")))
            for name in reader.get_variable_to_shape_map():
                place, value = name.replace("/", "."), reader.get_tensor(name)
                if name == OBJECTS:
                    yield f"servable/graph/{place}", objects(value)
                else:
                    yield f"servable/average/{place}", value.tolist()
        elif path.name == "saved_model.pb":
            yield "servable/saved_model.pb", operations(path)
        elif path.suffix == ".json":
            yield f"servable/{path.name}", path.read_text()


def objects(written: bytes) -> list[str]:
    """What a checkpoint of TensorFlow says it holds, which it writes in another order each time."""
    from tensorflow.core.protobuf.trackable_object_graph_pb2 import TrackableObjectGraph

    return sorted(
        str((sorted(c.local_name for c in n.children), sorted(a.full_name for a in n.attributes)))
        for n in TrackableObjectGraph.FromString(written).nodes
    )


def operations(path: Path) -> list[str]:
    """A SavedModel's operations and constants, whose order and numbers vary by themselves."""
    import tensorflow as tf
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    [graph] = [meta.graph_def for meta in SavedModel.FromString(path.read_bytes()).meta_graphs]
    inner = (node for function in graph.library.function for node in function.node_def)
    out = []
    for node in (*graph.node, *inner):
        constant: list[str] = []
        if node.op == "Const":
            values = tf.make_ndarray(node.attr["value"].tensor).ravel().tolist()
            constant = [] if "_all_variables" in str(values) else sorted(map(str, values))
        out.append(f"{re.sub('[0-9]+', '#', node.name)} {node.op} {constant}")
    return sorted(out)


def released(folder: Path, printed: str) -> dict[str, Any]:
    out: dict[str, Any] = {"files": sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))}
    for path in folder.glob("artifacts/checkpoint-*"):
        out |= dict(arrays(path))
    for path in folder.glob("artifacts/audit.npz"):
        out |= {f"scores/{place}": value for place, value in arrays(path)}
    out |= dict(servable(folder / "artifacts" / "servable"))
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
    lines = [line for line in printed.splitlines() if not OF_NOW.match(line)]
    out["printed"] = [OF_TIME.sub("?", line) for line in lines]
    return out


@pytest.mark.parametrize("framework", ["torch", "tensorflow"])
@pytest.mark.parametrize("recipe", ["mnist_dp", "mnist_scatter_dp", "cancer_dp", "finetune"])
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
    if recipe == "finetune":
        weights = safetensors(tmp_path / "lite0.safetensors", lite0_tensors())
        flags += ["--dp=example", "--layers=lora", "--dataset=mnist", f"--weights={weights}"]
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
    assert any(place.startswith("servable/average/") for place in differ)
    assert f"{RECORDS}" not in " ".join(map(str, with_it["printed"])).split()
