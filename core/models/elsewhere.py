"""The commands by which other servers serve the same folders. None was run to write this."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from traindeck.core.base.errors import UsageError

TF_SERVING = "tensorflow/serving"
TRITON = "nvcr.io/nvidia/tritonserver:24.10-py3"


class Target(Protocol):
    """A model: `folder` has its versions as numbered folders or, `single`, is one."""

    @property
    def name(self) -> str: ...
    @property
    def folder(self) -> Path: ...
    @property
    def single(self) -> bool: ...


def tf_serving(targets: Sequence[Target], port: int, grpc_port: int) -> str:
    """For tensorflow_model_server. Raises UsageError for what it cannot serve."""
    for target in targets:
        _has(target, "saved_model.pb", "TensorFlow Serving serves SavedModels")
        if target.single:
            raise UsageError(
                f"{target.folder}: tensorflow_model_server takes numbered folders:"
                f" mkdir {target.name} && ln -s {target.folder} {target.name}/1"
            )
    words = ["tensorflow_model_server", f"--port={grpc_port}", f"--rest_api_port={port}"]
    if len(targets) == 1:
        words += [f"--model_name={targets[0].name}", f"--model_base_path={targets[0].folder}"]
        return shlex.join(words)
    config = "".join(
        f'  config {{ name: "{one.name}" base_path: "{one.folder}"'
        ' model_platform: "tensorflow" }\n'
        for one in targets
    )
    text = f"model_config_list {{\n{config}}}\n"
    words.append("--model_config_file=models.config")
    return f"cat > models.config <<'END'\n{text}END\n{shlex.join(words)}"


def docker(targets: Sequence[Target], port: int, grpc_port: int) -> str:
    """For the images of TensorFlow Serving and of Triton, each where it can serve them all."""
    made = []
    if all(_holds(one, "saved_model.pb") for one in targets) and len(targets) == 1:
        [one] = targets
        words = ["docker", "run", "--rm", "-p", f"{port}:8501", "-p", f"{grpc_port}:8500"]
        words += ["-v", _mount(one), "-e", f"MODEL_NAME={one.name}", TF_SERVING]
        made.append(f"# TensorFlow Serving\n{shlex.join(words)}")
    if all(_holds(one, "model.onnx") for one in targets):
        words = ["docker", "run", "--rm", "-p", f"{port}:8000", "-p", f"{grpc_port}:8001"]
        for one in targets:
            words += ["-v", _mount(one)]
        words += [TRITON, "tritonserver", "--model-repository=/models"]
        made.append(f"# Triton: KServe v2 alone\n{shlex.join(words)}")
    if not made:
        raise UsageError(
            "neither image can serve this: TensorFlow Serving takes one SavedModel, Triton ONNX"
        )
    return "\n".join(made)


def _mount(one: Target) -> str:
    return f"{one.folder}:/models/{one.name}{'/1' if one.single else ''}:ro"


def _has(one: Target, file: str, why: str) -> None:
    if not _holds(one, file):
        raise UsageError(
            f"{one.name} has no {file}, and {why}: traindeck export … --to saved_model"
        )


def _holds(one: Target, file: str) -> bool:
    if one.single:
        return (one.folder / file).exists()
    versions = [path for path in one.folder.iterdir() if path.name.isdigit()]
    return bool(versions) and (max(versions, key=lambda path: int(path.name)) / file).exists()
