# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8", "scikit-learn>=1.5", "syft==0.10.0", "syft-rds==0.6.1", "traindeck"]
# [tool.traindeck]
# name = "mpc-infer"
# title = "Reading images by a model that stays secret (PySyft, MPyC)"
# description = "The model's owner sees no image, the client no weight; only labels are opened."
# framework = "syft"
# task = "private inference"
# dataset = "mnist"
# privacy = "mpc"
# devices = ["cpu"]
# tags = ["federated", "mpc", "inference"]
# headline = "test/accuracy"
# [tool.traindeck.params]
# model = {type = "path", help = "run folder or checkpoint of a 2-layer network"}
# dataset = {type = "choice", default = "mnist", choices = ["mnist", "digits"], help = "of images"}
# images = {type = "int", default = 60, min = 1, max = 10000, help = "test images of the client"}
# hidden = {type = "int", default = 32, min = 1, max = 1024, help = "of the network trained here"}
# examples = {type = "int", default = 12000, min = 1, max = 60000, help = "to train it from"}
# epochs = {type = "int", default = 5, min = 1, max = 1000, help = "to train it for"}
# seed = {type = "int", default = 0, min = 0, max = 999999, help = "decides its first weights"}
# data_dir = {type = "path", help = "folder of MNIST's four IDX files; else as in torch-mnist"}
# approval = {type = "choice", default = "auto", choices = ["auto", "hand"], help = "by hash"}
# minutes = {type = "float", default = 60.0, min = 0.1, max = 1440.0, help = "time limit"}
# ///
"""Read a client's images by an owner's trained network, neither seeing what is the other's.

Three PySyft owners approve `jobs/mpc_infer.py`: owner-1 holds the model, owner-2 is the client, and
owner-3 holds nothing: Shamir's sharing needs an honest majority, which two parties do not have.
The network is inputs → hidden (ReLU) → 10, as torch-digits trains it; without --model owner-1 first
trains one. This recipe plays all three, and so can read the same images in the clear, to compare.
"""

from pathlib import Path
from typing import Any

from traindeck.core import track
from traindeck.recipes.shared.training import needs
from traindeck.recipes.shared.training.data import datasets


def main(run: track.Run) -> None:
    p = run.params
    with needs.syft():
        import numpy as np

        from traindeck.recipes.shared.federated.mpc import models, network
        from traindeck.recipes.shared.federated.mpc import party as mpc
        from traindeck.recipes.shared.federated.scientist import together

    model = network.read(p.model) if p.model else None
    data, brightest = needs.data(datasets.images, p.dataset, p.data_dir)
    if model is None:
        run.use(datasets.fingerprint(data.train_x, data.train_y))

    def pixels(images: Any) -> Any:
        return images.reshape(len(images), -1).astype(np.float32) / brightest

    count = min(p.images, len(data.test_x))
    test_x, test_y = pixels(data.test_x[:count]), data.test_y[:count]
    inputs = test_x.shape[1]
    if model is not None and model["w1"].shape[0] != inputs:
        track.abort(
            f"--model: it reads {model['w1'].shape[0]} pixels, an image of {p.dataset} has"
            f" {inputs}: see --dataset",
            2,
        )
    train_x, train_y = pixels(data.train_x[: p.examples]), data.train_y[: p.examples]
    hidden = p.hidden if model is None else model["w1"].shape[1]
    classes = 10 if model is None else model["w2"].shape[1]
    ports = mpc.free_ports(3)
    params = {
        "sizes": [count, inputs, hidden, classes],
        "epochs": p.epochs,
        "seed": p.seed,
    }
    shards: dict[str, dict[str, Any]] = {
        "owner-1": {"x": train_x, "y": train_y} if model is None else model,
        "owner-2": {"x": test_x, "y": test_y},
        "owner-3": {"nothing": np.zeros(0)},
    }
    print(f"{count} images through {inputs}-{hidden}-{classes} on shares", flush=True)
    script = Path(__file__).resolve().parent / "jobs" / "mpc_infer.py"
    results = together.compute(
        run,
        script,
        dataset=p.dataset,
        shards=shards,
        mock={"x": np.zeros((1, inputs), np.float32), "y": np.zeros(1, np.uint8)},
        params=params,
        ports=ports,
    )
    if results is None:
        return

    if model is None:
        model = models.train_network(
            train_x.astype(np.float64), train_y, hidden=hidden, epochs=p.epochs, seed=p.seed
        )
    plain = models.predict_plain(model, test_x.astype(np.float64))
    labels = np.array(results["owner-2"]["labels"])
    shared, clear = float((labels == test_y).mean()), float((plain == test_y).mean())
    took = results["owner-2"]["seconds"]
    run.log(count, {"test/accuracy": shared, "plain/accuracy": clear})
    run.log(count, {"plain/agreement": float((labels == plain).mean())})
    run.log(count, {"mpc/seconds": took, "mpc/ms_per_image": 1000 * took / count})
    for name, result in results.items():
        run.log(count, {f"bytes_sent/{name}": sum(result["bytes_sent"].values())})
    run.progress(count, count)
    print(
        f"accuracy {shared:.4f} on shares, {clear:.4f} in the clear, on the same {count} images;"
        f" {int((labels != plain).sum())} labels differ; {1000 * took / count:.0f} ms an image",
        flush=True,
    )


if __name__ == "__main__":
    with track.start() as run:
        main(run)
