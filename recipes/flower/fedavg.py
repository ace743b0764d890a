# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "scikit-learn>=1.5", "traindeck"]
# [tool.traindeck]
# name = "flower-fedavg"
# title = "Federated averaging (Flower)"
# description = "Owners behind SuperNodes train one model; SecAgg+ gives away their sum alone."
# framework = "other"
# parts = "flower"
# packages = ["flwr==1.41.*", "torch==2.13.0", "numpy"]
# task = "image classification"
# dataset = "digits"
# privacy = "secure-aggregation"
# tags = ["federated", "flower", "mlp"]
# headline = "test/accuracy"
# [tool.traindeck.params]
# dataset = {type = "choice", default = "digits", choices = ["digits", "mnist"], help = "whose"}
# owners = {type = "int", default = 3, min = 3, max = 8, help = "each behind its own SuperNode"}
# rounds = {type = "int", default = 3, min = 1, max = 10000, help = "of federated averaging"}
# secagg = {type = "bool", default = true, help = "mask the weights: only their sum is seen"}
# split = {type = "choice", default = "dirichlet", choices = ["iid", "dirichlet", "label"]}
# alpha = {type = "float", default = 0.5, min = 0.001, max = 1000.0, help = "small: unequal"}
# examples = {type = "int", default = 0, min = 0, max = 60000, help = "in all; 0: all"}
# epochs = {type = "int", default = 1, min = 1, max = 100, help = "an owner's, each round"}
# batch_size = {type = "int", default = 32, min = 1, max = 10000, help = "images a step"}
# lr = {type = "float", default = 0.1, min = 1e-6, max = 100.0, help = "of the owners' SGD"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "weights, split, order"}
# data_dir = {type = "path", help = "folder of MNIST's four IDX files; else as in torch-mnist"}
# patience = {type = "float", default = 120.0, min = 10.0, max = 86400.0, help = """\
#   seconds that each of a round's four stages waits for an owner before it is lost"""}
# python = {type = "path", help = """\
#   environment with flwr 1.41; else $TRAINDECK_FLOWER, else envs/flower in the home"""}
# ///
"""Train over several owners' data with Flower: a SuperLink, SuperNodes, TLS and SecAgg+.

Each party is a process with its own folder, and they talk over TLS on loopback as they would
between machines. Flower runs in an environment of its own; the app that it runs is in
recipes/shared/federated/flower/app/.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from traindeck.core import track
from traindeck.recipes.shared.federated.flower import budgets, env
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets

if TYPE_CHECKING:
    from traindeck.recipes.shared.federated.flower.board import FlowerRound


def main(run: track.Run) -> None:
    p = run.params
    environment = env.find(p.python)
    run.should_stop()  # from here on a stop leaves no data and no key behind
    data, brightest = needs.data(datasets.images, p.dataset, p.data_dir)
    run.use(datasets.fingerprint(data.train_x, data.train_y))

    import numpy as np

    from traindeck.recipes.shared.federated.flower.board import Board
    from traindeck.recipes.shared.federated.flower.deployment import Deployment, FlowerError
    from traindeck.recipes.shared.federated.flower.following import leave, rounds, write_images
    from traindeck.recipes.shared.federated.scientist import shards

    chosen = np.random.default_rng(p.seed).permutation(len(data.train_x))[: p.examples or None]
    try:
        parts = shards.split(data.train_y[chosen], p.owners, p.split, p.alpha, p.seed)
    except ValueError as error:
        track.abort(str(error), 2)
    shares = {f"owner-{number}": chosen[part] for number, part in enumerate(parts, 1)}
    for name, share in shares.items():
        budgets.ask(run, name, datasets.fingerprint(data.train_x[share], data.train_y[share]))

    folder = (run.folder or run.artifacts).absolute() / "federation"
    if folder.exists():
        track.abort(f"{folder} is there already: name another --run-folder", 2)
    threshold = p.owners // 2 + 1  # owners whose shares take a lost one's masks off the sum
    board = Board(
        folder,
        {name: len(share) for name, share in shares.items()},
        aggregation="secagg" if p.secagg else "transport",
        rounds_total=p.rounds,
        threshold=threshold if p.secagg else 1,
    )
    owners = {name: board.owner_folder(name) for name in shares}
    aggregator = board.aggregator_folder
    config = {
        "owners": p.owners,
        "rounds": p.rounds,
        "epochs": p.epochs,
        "batch-size": p.batch_size,
        "lr": p.lr,
        "seed": p.seed,
        "secagg": p.secagg,
        "threshold": threshold,
        "max-weight": float(len(chosen)),
        "patience": p.patience,
        "folder": str(aggregator),
    }

    def keep(round: FlowerRound) -> None:
        number = round.number
        run.log(number, {"test/loss": round.loss, "test/accuracy": round.accuracy})
        run.log(number, round_seconds=round.seconds, owners=p.owners - len(round.lost))
        run.round(number, seconds=round.seconds, accuracy=round.accuracy, lost=round.lost)
        run.progress(number, p.rounds)
        target = checkpoints.path(run, number, ".npz")
        checkpoints.write(run, target, lambda part: shutil.copy(aggregator / "weights.npz", part))
        print(
            f"round {number}/{p.rounds}  test loss {round.loss:.4f}"
            f"  test accuracy {round.accuracy:.4f}  {round.seconds:.1f} s"
            + (f"  lost: {', '.join(round.lost)}" if round.lost else ""),
            flush=True,
        )

    stopping, failure = False, ""
    try:
        for name, share in shares.items():
            write_images(
                owners[name] / "data.npz", data.train_x[share], data.train_y[share], brightest
            )
        write_images(aggregator / "test.npz", data.test_x, data.test_y, brightest)
        print(f"starting a SuperLink and {p.owners} SuperNodes ...", flush=True)
        with Deployment(environment, aggregator, owners) as deployment:
            deployment.launch(config)
            samples = ", ".join(f"{name} {count}" for name, count in board.samples.items())
            print(f"training on {len(chosen)} images: {samples}", flush=True)
            for round in rounds(run, deployment, board):
                keep(round)
            stopping = run.should_stop()
    except (FlowerError, OSError) as error:
        failure = str(error)
    finally:
        for name in owners:
            (owners[name] / "data.npz").unlink(missing_ok=True)
    board.end(failure, stopping)
    if failure:
        track.abort(f"{failure} (logs: {aggregator})", 1)
    if stopping:
        print(f"stopped on request after round {board.finished} of {p.rounds}", flush=True)
    leave(run, aggregator, p.dataset)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
