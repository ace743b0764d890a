"""The aggregator's side: rounds of federated averaging, through SecAgg+ if asked.

Written for Flower 1.41, whose SecAgg+ workflow works with the older strategy interface.
"""

# mypy: disable-error-code="import-not-found,no-any-return,untyped-decorator"

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import fedavg_journal as journal
import fedavg_model as model
import numpy as np
from flwr.app import Context, Message
from flwr.common import FitIns, Parameters, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid, ServerApp

ASK_SECONDS = 0.2  # between two looks for replies
JOIN_SECONDS = 300.0

app = ServerApp()


class Failed(Exception):
    """The federation cannot go on, and why."""


class Rounds(FedAvg):
    """Averages over every owner that is there, tests what comes out, and keeps the record of it.

    Who once did not answer in time is left out from then on.
    """

    def __init__(self, folder: Path, first: list[Any], least: int) -> None:
        super().__init__(fraction_evaluate=0.0, initial_parameters=ndarrays_to_parameters(first))
        self.folder, self.least = folder, least
        self.x, self.y = model.load(folder / "test.npz")
        self.late: dict[int, str] = {}  # the nodes that did not answer in time, and when
        self.wrong: dict[int, str] = {}  # those that answered with an error in this round
        self.began = 0.0
        self.number = 0
        self.averaged = 0  # the last round that gave an average

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: Any) -> Any:
        self.number, self.wrong = server_round, {}
        there = [one for one in client_manager.all().values() if one.node_id not in self.late]
        if len(there) < self.least:
            left = f"{len(there)} owners are left and {self.least} are needed"
            raise Failed(f"round {server_round}: {left}{self._why()}")
        return [(one, FitIns(parameters, {"round": server_round})) for one in there]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        if results:
            self.averaged = server_round
        return super().aggregate_fit(server_round, results, failures)

    def evaluate(self, server_round: int, parameters: Parameters) -> Any:
        if server_round == 0:
            return None
        if self.averaged != server_round:
            raise Failed(f"round {server_round} gave no average{self._why()}")
        seconds = time.perf_counter() - self.began
        arrays = parameters_to_ndarrays(parameters)
        loss, accuracy = model.evaluate(model.of(arrays), self.x, self.y)
        part = self.folder / "part.npz"
        np.savez(part, *arrays)
        os.replace(part, self.folder / "weights.npz")
        facts = {"seconds": seconds, "loss": loss, "accuracy": accuracy}
        wrong, late = ({str(n): why for n, why in one.items()} for one in (self.wrong, self.late))
        journal.write(self.folder, "round", round=server_round, **facts, wrong=wrong, late=late)
        return loss, {"accuracy": accuracy}

    def _why(self) -> str:
        reasons = [f"node {node}: {why}" for node, why in (self.wrong | self.late).items()]
        return f" ({'; '.join(reasons)})" if reasons else ""


class PromptGrid(Grid):
    """A grid that looks for replies five times a second, and says who is waited for.

    Flower's own looks every 3 seconds, and for ever. Sending and fetching are as they are.
    """

    def __init__(self, grid: Grid, strategy: Rounds, patience: float) -> None:
        self.grid, self.strategy, self.patience = grid, strategy, patience

    def set_run(self, run: Any) -> None:
        self.grid.set_run(run)

    @property
    def run(self) -> Any:
        return self.grid.run

    def create_message(self, *args: Any, **kwargs: Any) -> Message:
        return self.grid.create_message(*args, **kwargs)

    def get_node_ids(self) -> Iterable[int]:
        return self.grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self.grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self.grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> list[Message]:
        messages = list(messages)
        nodes = [message.metadata.dst_node_id for message in messages]
        waiting = dict(zip(self.push_messages(messages), nodes, strict=True))
        number = int(messages[0].metadata.group_id or 0) if messages else 0
        until = time.monotonic() + (timeout or self.patience)
        replies: list[Message] = []
        self._tell(number, waiting)
        while waiting and time.monotonic() < until:
            came = list(self.pull_messages(waiting))
            for reply in came:
                node = waiting.pop(reply.metadata.reply_to_message_id)
                if reply.has_error():
                    self.strategy.wrong[node] = reply.error.reason
            replies += came
            if came:
                self._tell(number, waiting)
            else:
                time.sleep(ASK_SECONDS)
        for node in waiting.values():
            why = f"no answer in {timeout or self.patience:.0f} s"
            self.strategy.late[node] = f"{why} in round {number}"
        return replies

    def _tell(self, number: int, waiting: dict[str, int]) -> None:
        nodes = sorted(map(str, waiting.values()))
        journal.write(self.strategy.folder, "waiting", round=number, nodes=nodes)


def join(grid: Grid, owners: int) -> None:
    """Wait until every owner's node is there. Raises Failed."""
    until = time.monotonic() + JOIN_SECONDS
    while len(there := list(grid.get_node_ids())) < owners:
        if time.monotonic() > until:
            raise Failed(f"{len(there)} of {owners} owners came in {JOIN_SECONDS:.0f} s")
        time.sleep(ASK_SECONDS)


def run(grid: Grid, context: Context) -> None:
    config = context.run_config
    folder = Path(str(config["folder"]))
    join(grid, int(config["owners"]))
    with np.load(folder / "test.npz", allow_pickle=False) as test:
        pixels = test["x"].shape[1]
    first = model.weights(model.new(pixels, int(config["seed"])))
    strategy = Rounds(folder, first, least=3 if config["secagg"] else 1)
    average = DefaultWorkflow().fit_workflow
    if config["secagg"]:
        average = SecAggPlusWorkflow(
            num_shares=1.0,  # every owner holds a share of every other's seeds
            reconstruction_threshold=int(config["threshold"]),
            max_weight=float(config["max-weight"]),
        )

    def fit(grid: Grid, context: LegacyContext) -> None:
        strategy.began = time.perf_counter()
        while True:
            late = len(strategy.late)
            average(grid, context)
            if strategy.averaged == strategy.number or len(strategy.late) == late:
                return
            # SecAgg+ cannot do without an owner that went before it shared its keys: once more.

    prompt = PromptGrid(grid, strategy, float(config["patience"]))
    rounds = ServerConfig(num_rounds=int(config["rounds"]))
    DefaultWorkflow(fit_workflow=fit)(prompt, LegacyContext(context, rounds, strategy))


@app.main()
def main(grid: Grid, context: Context) -> None:
    folder = str(context.run_config["folder"])
    try:
        run(grid, context)
    except Failed as error:
        journal.write(folder, "failed", reason=str(error))
        raise
    except Exception as error:
        journal.write(folder, "failed", reason=f"{type(error).__name__}: {error}")
        raise
    journal.write(folder, "done")
