"""Federated averaging as the data scientist sees it: rounds over owners, whatever they train with.

B. McMahan et al.: Communication-efficient learning of deep networks from decentralized data,
AISTATS 2017. With server momentum: T.-M. Hsu, H. Qi, M. Brown, 2019 (FedAvgM).
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from traindeck.core import track
from traindeck.recipes.shared import checkpoints, digits, mnist, needs
from traindeck.recipes.shared.federated import coordinator, mlp, shards

CHECKPOINTS = 10  # in the whole run


def learn(run: track.Run, script: Path, preload: tuple[str, ...]) -> None:
    """Train the small network of `mlp` over owners of MNIST or the digits.

    script: the job that each owner runs; preload: what it imports, loaded once for all.
    """
    p = run.params
    resume = checkpoints.find(p.resume, ".npz") if p.resume else None
    if p.dataset == "mnist":
        data, brightest = needs.data(mnist.load, p.data_dir), 255
    else:
        data, brightest = needs.data(digits.load), digits.BRIGHTEST
    train_x, train_y = data.train_x[: p.examples or None], data.train_y[: p.examples or None]
    test_x = data.test_x.reshape(len(data.test_x), -1).astype(np.float32) / brightest
    inputs = test_x.shape[1]
    try:
        parts = shards.split(train_y, p.owners, p.split, p.alpha, p.seed)
    except ValueError as error:
        track.abort(str(error), 2)
    owned = {
        f"owner-{n}": {"x": train_x[part], "y": train_y[part]} for n, part in enumerate(parts, 1)
    }
    mock = {"x": np.zeros_like(train_x[:4]), "y": np.zeros_like(train_y[:4])}

    weights: mlp.Row = mlp.first(inputs, p.seed)
    velocity = np.zeros(len(weights))
    done = 0
    if resume:
        try:
            with np.load(resume, allow_pickle=False) as state:
                weights = state["weights"].astype(np.float32).reshape(weights.shape)
                velocity = state["velocity"].astype(np.float64).reshape(velocity.shape)
                done = int(state["round"])
        except Exception as error:  # numpy raises a different one for each way to be wrong
            track.abort(f"--resume: {resume} is not a checkpoint of this recipe ({error!r:.200})")
        if done >= p.rounds:
            track.abort(f"{resume} has already been trained for {p.rounds} rounds: raise --rounds")

    def save(number: int) -> None:
        def state(part: Path) -> None:
            np.savez(part, weights=weights, velocity=velocity, round=number)

        checkpoints.write(run, checkpoints.path(run, number, ".npz"), state)

    options = coordinator.Options(
        aggregation=p.aggregation,
        approval=p.approval,
        rounds=p.rounds,
        threshold=p.threshold,
        clip=p.clip,
        round_seconds=p.round_seconds,
        encrypt=p.encrypt,
        keep=p.keep_messages,
        preload=preload,
    )
    told = ("rounds", "local_epochs", "batch_size", "lr", "weight_decay", "mu", "seed")
    params = {name: getattr(p, name) for name in told}
    print(f"{p.owners} owners of {p.dataset} load {preload[-1]} ...", flush=True)
    every = -(-p.rounds // CHECKPOINTS)
    began = time.perf_counter()
    with coordinator.Federation(
        run,
        script,
        dataset=p.dataset,
        shards=owned,
        mock=mock,
        params={**params, "brightest": brightest},
        size=len(weights),
        options=options,
    ) as federation:
        ready = time.perf_counter()
        print(f"{federation.status.visible} Ready after {ready - began:.1f} s.", flush=True)
        for number in range(done + 1, p.rounds + 1):
            outcome = federation.round(number, weights)
            velocity = p.server_momentum * velocity + outcome.update
            weights = np.asarray(weights + p.server_lr * velocity, np.float32)
            loss, accuracy = mlp.evaluate(weights, test_x, data.test_y)
            federation.tell(number, outcome, accuracy=accuracy)
            run.log(number, {"test/loss": loss, "test/accuracy": accuracy})
            run.log(number, round_seconds=outcome.seconds, owners=p.owners - len(outcome.lost))
            run.progress(number, p.rounds)
            stopping = run.should_stop()
            if stopping or number % every == 0 or number == p.rounds:
                save(number)
                lost = f"  without {', '.join(outcome.lost)}" if outcome.lost else ""
                print(
                    f"round {number}/{p.rounds}  test loss {loss:.4f}  test accuracy {accuracy:.4f}"
                    f"  {outcome.seconds:.2f} s{lost}",
                    flush=True,
                )
            if stopping:
                print(f"stopped on request after round {number} of {p.rounds}", flush=True)
                break
        federation.end_rounds()
        a_minute = 60 * (number - done) / (time.perf_counter() - ready)
        print(f"{a_minute:.0f} rounds a minute", flush=True)
