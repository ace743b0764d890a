"""PyTorch's exported program to ExecuTorch (XNNPACK), where executorch is installed.

    python to_executorch.py MODEL.pt2 OUT.pte INPUTS

INPUTS is JSON: {"image": {"dtype": "uint8", "shape": [28, 28]}}. The batch becomes 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(model: str, out: str, inputs: dict[str, Any]) -> None:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    module = torch.export.load(model).module()
    example = {
        name: torch.zeros(1, *like["shape"], dtype=getattr(torch, like["dtype"]))
        for name, like in inputs.items()
    }
    program = torch.export.export(module, (), example)
    edge = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
    Path(out).write_bytes(edge.to_executorch().buffer)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
