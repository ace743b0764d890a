"""The papers of a bundle: a model card, a bill of materials, MLflow's description, sums.

A card as Hugging Face reads it (huggingface.co/docs/hub/model-cards), CycloneDX 1.6
(cyclonedx.org/docs/1.6/json), an MLmodel file (mlflow.org/docs/latest/model).
"""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

from traindeck.core.base.files import write_json
from traindeck.core.models import words
from traindeck.core.models.bundle import Bundle, Signature, Tensor
from traindeck.core.run.artifacts import sums

SUMS = "SHA256SUMS"
_LIBRARIES = {
    "saved_model": ("tensorflow",),
    "pt2": ("torch",),
    "onnx": ("onnxruntime", "onnx"),
    "litert": ("ai-edge-litert",),
    "executorch": ("executorch",),
}
_TAGS = {
    "saved_model": "tensorflow",
    "pt2": "pytorch",
    "onnx": "onnx",
    "litert": "tflite",
    "executorch": "executorch",
}


def write_sums(folder: Path) -> None:
    """`sha256sum -c SHA256SUMS` in the folder checks all other files. Raises OSError."""
    lines = (f"{digest}  {name}\n" for name, digest in sums(folder).items() if name != SUMS)
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def write_card(folder: Path, bundle: Bundle, signature: Signature) -> None:
    """README.md, which people and Hugging Face read. Raises OSError."""
    run, name = bundle.get("run", {}), bundle["name"]
    tags = ["traindeck", *dict.fromkeys(_TAGS[_family(f)] for f in bundle["formats"])]
    dataset = str(run.get("data", {}).get("name") or "")
    head: dict[str, Any] = {
        "model_name": name,
        "library_name": "traindeck",
        "tags": tags,
    }
    if "image" in signature["inputs"]:
        head["pipeline_tag"] = "image-classification"
    elif _labels(signature):
        head["pipeline_tag"] = "tabular-classification"
    if dataset:
        head["datasets"] = [dataset]
    if "accuracy" in run and dataset:
        head["metrics"] = ["accuracy"]
        result = {
            "task": {"type": head.get("pipeline_tag", "other")},
            "dataset": {"type": dataset, "name": dataset, "split": "test"},
            "metrics": [{"type": "accuracy", "value": run["accuracy"]}],
        }
        head["model-index"] = [{"name": name, "results": [result]}]
    # JSON is YAML, and what a name holds cannot break out of it.
    lines = "".join(f"{key}: {json.dumps(value)}\n" for key, value in head.items())
    parts = [f"---\n{lines}---\n# {name}, version {bundle['version']}\n"]
    parts.append(
        f"By run {run.get('id')} of `{run.get('recipe')}` on {dataset or 'data of its own'}.\n"
    )
    parts.append(f"**Privacy:** {bundle.get('privacy', {}).get('words', 'not known')}.\n")
    parts += [_sides(signature), _table(bundle)]
    if refused := bundle.get("refused"):
        parts += [f"Not here: {form}, which {why}.\n" for form, why in refused.items()]
    (folder / "README.md").write_text("\n".join(parts), encoding="utf-8")


def _sides(signature: Signature) -> str:
    rows = ["| | name | type | what |", "| --- | --- | --- | --- |"]
    for side in ("inputs", "outputs"):
        for name, tensor in signature[side].items():
            kind = f"{tensor['dtype']} {words.shape(tensor['shape'])}"
            held = words.what(tensor, labels=len(tensor.get("labels", ())))
            rows.append(f"| {side[:-1]} | `{name}` | {kind} | {held} |")
    return "\n".join(rows) + "\n"


def _table(bundle: Bundle) -> str:
    rows = [f"| {' | '.join(words.TITLES)} |", f"|{' --- |' * len(words.TITLES)}"]
    for name, form in bundle["formats"].items():
        rows.append(f"| {' | '.join(words.figures(name, form))} |")
    notes = ["Against the run's own model, over all test records; p50 of one thread."]
    for name, form in bundle["formats"].items():
        if said := words.calibrated(form):
            notes.append(f"{name}: {said}.")
    return "\n".join(rows) + "\n\n" + "\n".join(notes) + "\n"


def write_bill(folder: Path, bundle: Bundle, signature: Signature) -> None:
    """sbom.cdx.json: the model, its files, and the libraries that run it. Raises OSError."""
    run = bundle.get("run", {})
    trained = run.get("packages", {})
    libraries: dict[str, str] = {}
    for form in bundle["formats"]:
        for name in _LIBRARIES[_family(form)]:
            libraries[name] = trained.get(name) or _version(name)
    components: list[dict[str, Any]] = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version}",
            "name": name,
            "version": version,
            "purl": f"pkg:pypi/{name}@{version}",
        }
        for name, version in sorted(libraries.items())
        if version
    ]
    components += [
        {
            "type": "file",
            "bom-ref": f"file:{path}",
            "name": path,
            "hashes": [{"alg": "SHA-256", "content": digest}],
        }
        for path, digest in bundle["files"].items()
    ]
    metrics = [{"type": "accuracy", "value": str(run["accuracy"])}] if "accuracy" in run else []
    created = datetime.datetime.fromtimestamp(bundle["created"], datetime.UTC)
    card = {
        "modelParameters": {
            "datasets": [{"type": "dataset", "name": str(run.get("data", {}).get("name", ""))}],
            "inputs": [{"format": _typed(n, t)} for n, t in signature["inputs"].items()],
            "outputs": [{"format": _typed(n, t)} for n, t in signature["outputs"].items()],
        },
        "quantitativeAnalysis": {"performanceMetrics": metrics},
        "considerations": {
            "technicalLimitations": [str(bundle.get("privacy", {}).get("words", "not known"))]
        },
    }
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": bundle["name"],
        "version": str(bundle["version"]),
        "modelCard": card,
    }
    write_json(
        folder / "sbom.cdx.json",
        {
            "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "version": 1,
            "metadata": {"timestamp": created.isoformat(), "component": model},
            "components": components,
            "dependencies": [{"ref": "model", "dependsOn": [c["bom-ref"] for c in components]}],
        },
    )


def write_mlmodel(folder: Path, bundle: Bundle, signature: Signature) -> bool:
    """MLmodel, of the ONNX file: what `mlflow.pyfunc.load_model` opens. Raises OSError.

    Returns False, and writes nothing, where there is no ONNX file.
    """
    if "onnx" not in bundle["formats"]:
        return False
    created = datetime.datetime.fromtimestamp(bundle["created"], datetime.UTC)
    sides = {
        side: json.dumps(
            [
                {
                    "type": "tensor",
                    "name": name,
                    "tensor-spec": {
                        "dtype": tensor["dtype"],
                        "shape": [-1, *(-1 if n is None else n for n in tensor["shape"])],
                    },
                }
                for name, tensor in signature[side].items()
            ]
        )
        for side in ("inputs", "outputs")
    }
    onnx = {
        "data": "model.onnx",
        "onnx_version": _version("onnx"),
        "providers": ["CPUExecutionProvider"],
    }
    content = {
        "flavors": {
            "onnx": onnx,
            "python_function": {
                "loader_module": "mlflow.onnx",
                "data": "model.onnx",
                "python_version": platform.python_version(),
            },
        },
        "mlflow_version": "3.0.0",
        "model_uuid": bundle["files"]["model.onnx"][:32],
        "signature": sides,
        "utc_time_created": created.strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
    write_json(folder / "MLmodel", content)  # JSON is YAML
    return True


def _family(form: str) -> str:
    return form.partition("-")[0]


def _labels(signature: Signature) -> bool:
    return any("labels" in tensor for tensor in signature["outputs"].values())


def _typed(name: str, tensor: Tensor) -> str:
    shape = ",".join("?" if n is None else str(n) for n in ("n", *tensor["shape"]))
    return f"{name}: {tensor['dtype']}[{shape}]"


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
