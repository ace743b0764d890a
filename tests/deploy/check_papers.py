"""Opens a bundle's papers by those who read such: run by an environment that has them.

    python check_papers.py mlflow | huggingface_hub | cyclonedx BUNDLE

Prints what it read, as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def mlflow(bundle: Path) -> Any:
    import mlflow.pyfunc
    import numpy as np

    model = mlflow.pyfunc.load_model(str(bundle))
    [given] = model.metadata.signature.inputs.to_dict()
    spec = given["tensor-spec"]
    answers = model.predict(np.zeros((4, *spec["shape"][1:]), spec["dtype"]))
    return {name: list(array.shape) for name, array in answers.items()}


def huggingface_hub(bundle: Path) -> Any:
    from huggingface_hub import ModelCard

    data = ModelCard.load(bundle / "README.md").data
    results = data.eval_results or []
    return {"name": data.model_name, "tags": data.tags, "metrics": [r.metric_type for r in results]}


def cyclonedx(bundle: Path) -> Any:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (bundle / "sbom.cdx.json").read_text()
    return str(JsonStrictValidator(SchemaVersion.V1_6).validate_str(text))


if __name__ == "__main__":
    readers = {"mlflow": mlflow, "huggingface_hub": huggingface_hub, "cyclonedx": cyclonedx}
    print(json.dumps(readers[sys.argv[1]](Path(sys.argv[2]))))
