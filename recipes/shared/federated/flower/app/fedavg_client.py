"""An owner's side: trains on its own examples and hands out only what SecAgg+ has masked.

Flower starts a process of this for every message (four a round with SecAgg+), so torch, a second to
import, is loaded only for the one that trains.
"""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import fedavg_journal as journal
from flwr.app import Context, Message, MetricRecord
from flwr.client import NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.clientapp.typing import ClientAppCallable

EXAMPLES = "fitres.num_examples"  # where Flower keeps the number of examples in a reply
SECAGG = "secaggplus_configs"


class FlowerClient(NumPyClient):
    def __init__(self, context: Context) -> None:
        self.config = context.run_config
        self.folder = Path(str(context.node_config["folder"]))
        self.facts: dict[str, float] = {}

    def fit(
        self, parameters: list[Any], config: dict[str, Any]
    ) -> tuple[list[Any], int, dict[str, Any]]:
        import fedavg_model as model
        import torch

        began = time.perf_counter()
        number = int(config["round"])
        x, y = model.load(self.folder / "data.npz")
        net = model.of(parameters)
        torch.manual_seed(int(self.config["seed"]) * 1_000_003 + number)
        loss = model.train(
            net,
            x,
            y,
            int(self.config["epochs"]),
            int(self.config["batch-size"]),
            float(self.config["lr"]),
        )
        seconds = time.perf_counter() - began
        journal.write(self.folder, "trained", round=number, loss=loss, seconds=seconds)
        return model.weights(net), len(x), {}  # the loss stays here


def secure(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """SecAgg+, if the run asks for it. The number of examples then leaves as a masked weight only.

    Flower's own mod masks it and leaves it in the reply as well; the aggregator does not need it.
    """
    if not context.run_config["secagg"]:
        return call_next(message, context)
    reply = secaggplus_mod(message, context, call_next)
    if EXAMPLES in reply.content.metric_records:
        reply.content.metric_records[EXAMPLES] = MetricRecord({"num_examples": 1})
    return reply


def count(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """Write down how many bytes of which kind leave, all of them within TLS.

    masked       weights under SecAgg+'s masks
    ciphertext   shares of keys sealed to another owner; weights that TLS alone seals
    metadata     public keys, opened shares, numbers
    """
    folder = str(context.node_config["folder"])
    number = int(message.metadata.group_id or 0)
    journal.write(folder, "message", node=str(context.node_id), round=number)
    reply = call_next(message, context)
    out = {"masked": 0, "ciphertext": 0, "metadata": 0}
    for arrays in reply.content.array_records.values():
        out["ciphertext"] += arrays.count_bytes()
    for name, record in reply.content.config_records.items():
        sealed = masked = 0
        if name == SECAGG:
            masked = sum(map(len, record.get("masked_params", [])))
            sealed = sum(map(len, record.get("ctxts", [])))
        out["masked"] += masked
        out["ciphertext"] += sealed
        out["metadata"] += max(0, record.count_bytes() - masked - sealed)
    for metrics in reply.content.metric_records.values():
        out["metadata"] += metrics.count_bytes()
    journal.write(folder, "sent", node=str(context.node_id), round=number, bytes=out)
    return reply


app = ClientApp(client_fn=lambda context: FlowerClient(context).to_client(), mods=[count, secure])
