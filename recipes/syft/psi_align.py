# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2.0", "scikit-learn>=1.5", "syft==0.10.0", "syft-rds==0.6.1", "traindeck"]
# [tool.traindeck]
# name = "psi-align"
# title = "Two hospitals, the same patients (PySyft, PSI, MPyC)"
# description = "Find common patients without telling others, then learn over both's measures."
# framework = "syft"
# task = "tabular classification"
# dataset = "cancer"
# privacy = "mpc"
# devices = ["cpu"]
# tags = ["federated", "mpc", "psi", "vertical", "tabular"]
# headline = "test/accuracy"
# [tool.traindeck.params]
# share = {type = "float", default = 0.85, min = 0.1, max = 1.0, help = "of the patients, at each"}
# rounds = {type = "int", default = 60, min = 1, max = 10000, help = "steps of gradient descent"}
# batch_size = {type = "int", default = 96, min = 1, max = 1000, help = "patients a round"}
# lr = {type = "float", default = 1.0, min = 1e-6, max = 10.0, help = "learning rate"}
# decay = {type = "float", default = 0.01, min = 0.0, max = 1.0, help = "of the weights"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "who knows which patients"}
# approval = {type = "choice", default = "auto", choices = ["auto", "hand"], help = "by hash"}
# minutes = {type = "float", default = 60.0, min = 0.1, max = 1440.0, help = "time limit"}
# ///
"""Vertical learning: two hospitals know 15 measures each, of partly the same patients.

Three PySyft owners approve `jobs/psi_align.py`. owner-1 and owner-2 are the hospitals; they find
the patients that both have by private set intersection, which tells each hospital which of its own
patients the other has too, and nobody else more than how many these are. Then MPyC trains a
logistic regression on shares of both's measures. owner-3 helps, without data: two parties have no
honest majority. The patients' ids are made up. This recipe plays all three, and so can compare with
the clear.
"""

from pathlib import Path

from traindeck.core import track
from traindeck.recipes.shared.training import needs
from traindeck.recipes.shared.training.data import cancer, datasets

HALF = 15  # of the 30 measures; owner-2 has the others and the labels


def main(run: track.Run) -> None:
    p = run.params
    with needs.syft():
        import numpy as np

        from traindeck.recipes.shared.federated.mpc import models
        from traindeck.recipes.shared.federated.mpc.party import free_ports
        from traindeck.recipes.shared.federated.scientist import together

    data = needs.data(cancer.load)
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    random = np.random.default_rng(p.seed)
    total = len(data.train_x)
    ids = np.array([f"patient-{number:08d}" for number in random.permutation(10**6)[:total]])
    first, second = (random.permutation(total)[: round(p.share * total)] for _ in range(2))
    bound = -(-total // p.batch_size) * p.batch_size
    *ports, psi_port = free_ports(4)
    params = {
        "rounds": p.rounds,
        "lr": p.lr,
        "decay": p.decay,
        "batch_size": p.batch_size,
        "bound": bound,
        "features": [HALF, data.train_x.shape[1] - HALF],
        "psi_port": psi_port,
    }
    shards = {
        "owner-1": {"ids": ids[first], "x": data.train_x[first, :HALF]},
        "owner-2": {
            "ids": ids[second],
            "x": data.train_x[second, HALF:],
            "y": data.train_y[second],
        },
        "owner-3": {"nothing": np.zeros(0)},
    }
    print(f"two hospitals with {len(first)} patients each, at most {bound} told", flush=True)
    script = Path(__file__).resolve().parent / "jobs" / "psi_align.py"
    results = together.compute(
        run,
        script,
        dataset="cancer",
        shards=shards,
        mock={"ids": np.array(["patient-0"]), "x": np.zeros((1, HALF), np.float32)},
        params=params,
        ports=ports,
        more_ports=(psi_port,),
    )
    if results is None:
        return

    common = np.intersect1d(first, second)
    common = common[np.argsort(ids[common])]
    counts = [results[name]["patients"] for name in ("owner-1", "owner-2")]
    if counts != [len(common)] * 2:
        track.abort(f"the hospitals found {counts} patients in common; there are {len(common)}", 1)
    x = models.padded(models.with_intercept(data.train_x[common]), bound)
    y = models.padded(data.train_y[common].reshape(-1, 1).astype(np.float64), bound)
    same, true = (
        models.train_plain([(x, y)], p.rounds, p.lr, p.decay, p.batch_size, squash)
        for squash in (models.cubic, models.sigmoid)
    )
    weights = np.array(results["owner-1"]["weights"])
    test = models.with_intercept(data.test_x)

    def accuracy(weights: models.Floats) -> float:
        return float(((test @ weights > 0) == (data.test_y > 0)).mean())

    difference = float(np.abs(weights - same).max())
    psi_seconds = results["owner-1"]["psi_seconds"]
    slowest = max(result["seconds"] for result in results.values())
    run.log(p.rounds, {"test/accuracy": accuracy(weights), "plain/difference": difference})
    run.log(p.rounds, {"plain/accuracy": accuracy(same), "sigmoid/accuracy": accuracy(true)})
    run.log(p.rounds, {"psi/patients": len(common), "psi/seconds": psi_seconds})
    run.log(p.rounds, {"mpc/seconds": slowest, "mpc/round_seconds": slowest / p.rounds})
    for name, result in results.items():
        sent = sum(result["bytes_sent"].values()) + result.get("psi_bytes", 0)
        run.log(p.rounds, {f"bytes_sent/{name}": sent})
    run.progress(p.rounds, p.rounds)
    print(
        f"{len(common)} patients in common; test accuracy {accuracy(weights):.4f}, with the true"
        f" sigmoid {accuracy(true):.4f}; largest difference to the same training in the clear"
        f" {difference:.1e}; {psi_seconds:.1f} s to align, {slowest:.1f} s on shares",
        flush=True,
    )


if __name__ == "__main__":
    with track.start() as run:
        main(run)
