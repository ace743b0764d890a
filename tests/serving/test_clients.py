"""Other people's clients, each in its own environment.

$TRAINDECK_SERVING_CLIENTS names a folder with the environments `stubs`, `triton` and `ovms`:

    for name in stubs triton ovms; do python3 -m venv $name; done
    stubs/bin/pip install --no-deps tensorflow-serving-api==2.21.0 tensorflow==2.21.0
    stubs/bin/pip install 'protobuf>=6' grpcio numpy
    triton/bin/pip install 'tritonclient[http,grpc]==2.73.*'
    ovms/bin/pip install ovmsclient==2023.1
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.serving.serving_tools import pictures, serving
from traindeck.recipes.shared.deploy.serving.messages import message
from traindeck.recipes.shared.deploy.serving.server import Serving
from traindeck.recipes.shared.deploy.serving.store import Model
from traindeck.recipes.shared.deploy.serving.table import PACKAGES

VARIABLE = "TRAINDECK_SERVING_CLIENTS"
HERE = Path(__file__).parent
pytestmark = pytest.mark.slow


def client(environment: str, script: str, *words: object, given: str = "") -> Any:
    """What the script prints, run by that environment; skipped where there is none."""
    python = Path(os.environ.get(VARIABLE, "/nowhere")) / environment / "bin/python"
    if not python.exists():
        pytest.skip(f"{VARIABLE} names no folder with the environment {environment}")
    done = subprocess.run(
        [python, HERE / script, *map(str, words)],
        input=given,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def names() -> list[str]:
    """The messages of TensorFlow and its server in our table."""
    return [
        f"{package}.{line.partition(':')[0]}"
        for package, text in PACKAGES.items()
        if package.startswith("tensorflow")
        for line in text.splitlines()
        if line and " = " not in line
    ]


def test_the_table_is_what_the_official_stubs_have() -> None:
    theirs = client("stubs", "clients_table.py", given=json.dumps(names()))
    for name, fields in theirs.items():
        for field in message(name).DESCRIPTOR.fields:
            ours = [
                field.number,
                field.type,
                bool(field.is_repeated),
                field.message_type.full_name if field.message_type else "",
                field.enum_type.full_name if field.enum_type else "",
                field.containing_oneof.name if field.containing_oneof else "",
            ]
            assert ours == fields.get(field.name), f"{name}.{field.name}"


def test_tensorflow_serving_api(tmp_path: Path) -> None:
    for version in (1, 2):
        pictures(tmp_path / f"digits/{version}", scale=version)
    base = tmp_path / "digits"
    with serving(tmp_path, Model("digits", base)) as server:
        told = client("stubs", "clients_stubs.py", server.grpc_port, base)
    assert told == {
        "predict": 20,
        "inputs": ["image"],
        "status": [[2, "AVAILABLE"]],
        "classify": [
            "INVALID_ARGUMENT",
            "No classification inputs found in SignatureDef: serving_default",
        ],
        "regress": [
            "INVALID_ARGUMENT",
            "No regression inputs found in SignatureDef: serving_default",
        ],
        "several": ["UNIMPLEMENTED", "Unrecognized signature method_name: x"],
        "reload": 0,
        "label": 1,
        "no label": ["INVALID_ARGUMENT", "Unrecognized servable version label: gone"],
    }


def test_tritonclient(server: Serving) -> None:
    told = client("triton", "clients_triton.py", server.port, server.grpc_port)
    assert np.shape(told["values"]) == (4, 2, 10)
    assert np.allclose(told["values"], told["values"][0], atol=1e-6)
    words = "Servable not found for request: Latest(none)"
    assert told["errors"] == [["404", words], ["StatusCode.NOT_FOUND", words]]


def test_ovmsclient(tmp_path: Path) -> None:
    pictures(tmp_path / "digits/2")
    with serving(tmp_path, Model("digits", tmp_path / "digits")) as server:
        told = client("ovms", "clients_ovms.py", server.port, server.grpc_port)
    assert np.shape(told["values"]) == (2, 2, 10)
    assert np.allclose(told["values"][0], told["values"][1], atol=1e-6)
    assert told["errors"] == ["InvalidInputError", "InvalidInputError"]
