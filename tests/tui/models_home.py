"""Homes with models in them, and servers that say what they have: small files, no framework."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.tui.homes import NOW, make_run
from traindeck.core.base.files import write_json
from traindeck.core.base.home import Home
from traindeck.core.run.points import PointWriter

DIGITS = [str(digit) for digit in range(10)]
SIGNATURE = {
    "format": 1,
    "inputs": {
        "image": {"dtype": "uint8", "shape": [8, 8], "what": "grey levels", "unit": "0 to 16"}
    },
    "outputs": {"probabilities": {"dtype": "float32", "shape": [10], "labels": DIGITS}},
}
NOT_COVERED = "trained without differential privacy: what it tells of any record has no bound"


def form(path: str, size: int, error: float, agreement: float = 1.0, **more: Any) -> dict[str, Any]:
    parity = {"largest_error": error, "agreement": agreement, "accuracy": 0.9610, "records": 359}
    latency = {"1": {"p50": 0.0121}, "32": {"p50": 0.0172}, "peak_mb": 61.0}
    return {"path": path, "parity": {**parity, **more}, "latency": latency, "bytes": size}


def make_bundle(
    home: Home, name: str, number: int, formats: dict[str, Any] | None = None, **more: Any
) -> Path:
    folder = home.models / name / str(number)
    folder.mkdir(parents=True)
    bundle = {
        "format": 1,
        "name": name,
        "version": number,
        "created": NOW,
        "formats": formats
        or {"pt2": form("model.pt2", 35_735, 0.0), "onnx": form("model.onnx", 25_624, 2.4e-7)},
        "files": {},
        "run": {
            "id": "2qkwpgnf",
            "recipe": "torch-digits",
            "data": {"name": "digits"},
            "accuracy": 0.961,
        },
        "privacy": {"covered": False, "words": NOT_COVERED},
        "signature": SIGNATURE,
        "records": "359 of digits, test",
    }
    write_json(folder / "bundle.json", {**bundle, **more})
    write_json(folder / "signature.json", SIGNATURE)
    (folder / "README.md").write_text(f"# {name}, version {number}\n\nA card to read.\n")
    return folder


def private(epsilon: float) -> dict[str, Any]:
    words = f"epsilon {epsilon} at delta 1e-05 for each example (add-or-remove-one), by the filter"
    return {"covered": True, "words": words, "epsilon": epsilon, "delta": 1e-5}


def served(model: str, folder: Path, state: str = "serving", error: str = "") -> dict[str, Any]:
    return {
        "model": model,
        "version": int(folder.name),
        "folder": str(folder),
        "state": state,
        "format": "onnxruntime" if state == "serving" else "",
        "error": error,
        "memory": 12 << 20,
    }


def make_server(
    home: Home,
    number: int,
    *versions: dict[str, Any],
    state: str = "running",
    rates: tuple[float, ...] = (),
    listens: bool = True,
    each: dict[str, float] | None = None,
    **more: Any,
) -> str:
    """A serving run, its record and its points; `each` has requests a second by `model/version`."""
    run_id = make_run(
        home, number, state=state, name="serve digits", recipe="serve", index=False, **more
    )
    folder = home.runs / run_id
    models = sorted({one["model"] for one in versions})
    if listens:
        write_json(
            folder / "serving.json",
            {
                "http": "http://127.0.0.1:8501",
                "grpc": "127.0.0.1:8500",
                "models": models,
                "token_file": "",
                "ca": "",
                "private": [],
                "ready": all(one["state"] == "serving" for one in versions),
                "problems": {},
                "versions": list(versions),
            },
        )
    writer = PointWriter(folder)
    for second, rate in enumerate(rates):
        values = {"requests_per_second": rate, "errors": float(second == 3), "memory_mb": 97.0}
        if rate:
            values |= {"p50_ms": 0.42 + second / 100, "p99_ms": 2.5}
        writer.add(
            second,
            {f"serve/{name}": value for name, value in values.items()},
            when=NOW - len(rates) + second,
        )
        for name, own in (each or {}).items():
            values = {"requests_per_second": own, "errors": 0.0, "p50_ms": own / 10, "p99_ms": own}
            writer.add(
                second,
                {f"serve/{name}/{figure}": value for figure, value in values.items()},
                when=NOW - len(rates) + second,
            )
    writer.close()
    return run_id
