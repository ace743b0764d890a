# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "scikit-learn>=1.5", "syft==0.10.0", "syft-rds==0.6.1", "traindeck"]
# [tool.traindeck]
# name = "syft-mpc-logreg"
# title = "Logistic regression on shares (PySyft, MPyC)"
# description = "Owners compute a model together; of their rows only random shares leave them."
# framework = "syft"
# task = "tabular classification"
# dataset = "cancer"
# privacy = "mpc"
# devices = ["cpu"]
# tags = ["federated", "mpc", "tabular"]
# headline = "test/accuracy"
# [tool.traindeck.params]
# dataset = {type = "choice", default = "cancer", choices = ["cancer", "digits"], help = "3 or 8"}
# owners = {type = "int", default = 3, min = 3, max = 8, help = "each one party; most are honest"}
# rounds = {type = "int", default = 60, min = 1, max = 10000, help = "steps of gradient descent"}
# batch_size = {type = "int", default = 32, min = 1, max = 1000, help = "an owner's rows a round"}
# lr = {type = "float", default = 1.0, min = 1e-6, max = 10.0, help = "learning rate"}
# decay = {type = "float", default = 0.01, min = 0.0, max = 1.0, help = "of the weights"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "who holds which rows"}
# approval = {type = "choice", default = "auto", choices = ["auto", "hand"], help = "by hash"}
# minutes = {type = "float", default = 60.0, min = 0.1, max = 1440.0, help = "time limit"}
# ///
"""Logistic regression over owners' rows by multi-party computation: PySyft owners, MPyC inside.

Each owner approves `jobs/mpc_logreg.py`, which is one party. Rows are shared out by Shamir's scheme
with an honest majority; how many an owner has is hidden up to a common bound. The weights alone
are opened. This recipe plays all owners, and so may do what no data scientist can: train on the
pooled rows in the clear, to show how far the computation on shares is from that.
"""

import time
from pathlib import Path
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import needs
from traindeck.recipes.shared.training.data import cancer, datasets, digits

TELL = (3, 8)  # of the digits


def main(run: track.Run) -> None:
    p = run.params
    with needs.syft():
        import numpy as np

        from traindeck.recipes.shared.federated.mpc import models
        from traindeck.recipes.shared.federated.mpc.party import free_ports
        from traindeck.recipes.shared.federated.scientist import publishing, shards, together

    train_x, train_y, test_x, test_y = load(p.dataset)
    run.use(datasets.of(p.dataset))  # of all digits, whichever are told apart
    try:
        parts = shards.split(train_y, p.owners, "iid", 1.0, p.seed)
    except ValueError as error:
        track.abort(str(error), 2)
    data: dict[str, dict[str, Any]] = {
        f"owner-{number}": {"x": train_x[rows], "y": train_y[rows]}
        for number, rows in enumerate(parts, 1)
    }
    bound = -(-max(map(len, parts)) // p.batch_size) * p.batch_size
    ports = free_ports(p.owners)
    params = {
        "rounds": p.rounds,
        "lr": p.lr,
        "decay": p.decay,
        "batch_size": p.batch_size,
        "bound": bound,
    }
    mock = {"x": np.zeros((bound, train_x.shape[1]), np.float32), "y": np.zeros(bound, np.uint8)}
    print(
        f"{p.owners} owners with {len(train_x)} rows of {train_x.shape[1]} features in all,"
        f" at most {bound} each; {p.rounds} rounds on shares",
        flush=True,
    )
    began = time.monotonic()
    script = Path(__file__).resolve().parent / "jobs" / "mpc_logreg.py"
    results = together.compute(
        run,
        script,
        dataset=p.dataset,
        shards=data,
        mock=mock,
        params=params,
        ports=ports,
    )
    if results is None:
        return
    wall = time.monotonic() - began

    opened = [np.array(result["weights"]) for result in results.values()]
    if any(not np.array_equal(weights, opened[0]) for weights in opened):
        track.abort("the owners do not agree on the weights that were opened", 1)
    blocks = [
        (
            models.padded(models.with_intercept(shard["x"]), bound),
            models.padded(shard["y"].reshape(-1, 1).astype(np.float64), bound),
        )
        for shard in data.values()
    ]
    same, true = (
        models.train_plain(blocks, p.rounds, p.lr, p.decay, p.batch_size, squash)
        for squash in (models.cubic, models.sigmoid)
    )
    tests = models.with_intercept(test_x)

    def accuracy(weights: models.Floats) -> float:
        return float(((tests @ weights > 0) == (test_y > 0)).mean())

    difference = float(np.abs(opened[0] - same).max())
    slowest = max(result["seconds"] for result in results.values())
    run.log(p.rounds, {"test/accuracy": accuracy(opened[0]), "plain/difference": difference})
    run.log(p.rounds, {"plain/accuracy": accuracy(same), "sigmoid/accuracy": accuracy(true)})
    run.log(p.rounds, {"mpc/seconds": slowest, "mpc/round_seconds": slowest / p.rounds})
    for name, result in results.items():
        sent = sum(result["bytes_sent"].values())
        run.log(p.rounds, {f"bytes_sent/{name}": sent})
        print(f"{name} sent {sent:,} bytes of shares to the other owners", flush=True)
    run.progress(p.rounds, p.rounds)
    if not difference < 1e-4:
        print(
            "warning: the computation on shares has left its range, as the cubic that stands for"
            " the sigmoid turns round: lower --lr, raise --decay",
            flush=True,
        )
    print(
        f"test accuracy {accuracy(opened[0]):.4f}, with the true sigmoid {accuracy(true):.4f};"
        f" largest difference to the same training in the clear {difference:.1e};"
        f" {slowest:.1f} s on shares, {wall:.1f} s in all",
        flush=True,
    )
    publishing.logistic(run, opened[0], p.dataset)


def load(dataset: str) -> tuple[Any, Any, Any, Any]:
    """Train and test rows: x (n, d) float32 from -1 or 0 to 1, y (n,) uint8, 0 or 1."""
    if dataset == "cancer":
        patients = needs.data(cancer.load)
        return patients.train_x, patients.train_y, patients.test_x, patients.test_y
    images = needs.data(digits.load)
    train = digits.rows(images.train_x, images.train_y, *TELL)
    return *train, *digits.rows(images.test_x, images.test_y, *TELL)


if __name__ == "__main__":
    with track.start() as run:
        main(run)
