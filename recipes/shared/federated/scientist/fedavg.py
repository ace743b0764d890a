"""Federated averaging as the data scientist sees it: rounds over owners, whatever they train with.

B. McMahan et al.: Communication-efficient learning of deep networks from decentralized data,
AISTATS 2017. With server momentum: T.-M. Hsu, H. Qi, M. Brown, 2019 (FedAvgM).

With differential privacy, by the parameter `dp`:

central  The unit is an owner with all its data, and the relation zero-out over a public list of
         owners: a neighbour is the federation in which one owner's update is zero. It hides what
         an owner holds, not that it takes part, nor in which rounds. DP-FedAvg (B. McMahan et al.,
         ICLR 2018) with the noise made by the owners (P. Kairouz, Z. Liu, T. Steinke, ICML 2021,
         but with rounded continuous Gaussians): each clips its update, adds its share of the
         noise, and masks the result, so that the aggregator sees a sum that is private already:
         also of the fewest owners whose sum it could open by lying to them about who answered, if
         they did not sign that; two thirds must answer. An owner knows its own share: those of all
         but one of the fewest are the whole noise, so that the sum is private for each owner alone
         too. What owners tell the aggregator or each other of their shares is not in its noise any
         more. All owners take part in each round: there is no amplification by sampling. Few
         owners make this expensive. With clipping=adaptive (G. Andrew et al., NeurIPS 2021) the
         norm follows a quantile of the updates' norms, by a count in the same sum, see
         `owner.release`.
local    The unit is an example. DP-SGD (M. Abadi et al., CCS 2016) at each owner: it draws a
         Poisson batch of its own examples, clips each one's gradient and adds the noise of the
         whole plan, some steps a round. Each example is one owner's, so what one owner's steps cost
         is what the run costs (parallel composition). This asks for no trust in any sum, and costs
         more accuracy: every owner adds all of the noise. Masks hide the updates besides.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np

from traindeck.core import track
from traindeck.core.privacy.plan import Plan
from traindeck.recipes.shared.federated.errors import Failed, FederationOverBudget, Stopped, Unfit
from traindeck.recipes.shared.federated.job import mlp
from traindeck.recipes.shared.federated.scientist import loudness, publishing, shards
from traindeck.recipes.shared.federated.scientist.options import Options, threshold
from traindeck.recipes.shared.federated.scientist.resuming import Checkpoints, Trained
from traindeck.recipes.shared.training import checkpoints, needs
from traindeck.recipes.shared.training.data import datasets, digits, mnist

FAR = 10.0  # L2 norm that updates are clipped to which are private already
CHECKPOINTS = 10  # in the whole run
JOB_PARAMS = ("local_epochs", "batch_size", "lr", "weight_decay", "mu", "seed")
"""Parameters of the recipe that its jobs get, beside the number of rounds."""


def learn(run: track.Run, script: Path, preload: tuple[str, ...]) -> None:
    """Train the small network of `mlp` over owners of MNIST or the digits.

    script: the job that each owner runs; preload: what it imports, loaded once for all.
    Ends the program (1) when the federation cannot go on, (2) when none can be made, and (5) when
    an owner's privacy budget does not admit it.
    """
    try:
        _check(run.params)
        _learn(run, script, preload)
    except Stopped:
        print("stopped on request", flush=True)
    except FederationOverBudget as error:
        run.over_budget("" if run.problem else str(error))  # the run's own knows why
    except Failed as error:
        track.abort(str(error), 2 if isinstance(error, Unfit) else 1)


def _check(p: Any) -> None:
    """Raises Unfit for parameters that promise what the choice of `dp` does not keep."""
    if p.dp == "none" and (p.epsilon < math.inf or p.noise_multiplier):
        raise Unfit(
            "epsilon, noise_multiplier: with dp=none nothing is private: choose dp=central or local"
        )
    if p.dp == "central" and p.aggregation != "secagg":
        raise Unfit(
            f"aggregation: {p.aggregation} would show updates that have a share of the noise only:"
            " dp=central needs secagg"
        )
    if p.dp == "none" and p.clipping == "adaptive":
        raise Unfit(
            "clipping: adaptive would tell by its count whose updates are long: it needs the noise"
            " of dp=central"
        )
    if p.dp != "local" and p.local_steps != 1:
        raise Unfit("local_steps: they are those of dp=local; else local_epochs count")


def _kind(p: Any, plan: Plan | None) -> str:
    """What rounds must have in common for one epsilon to hold for all of them, in public words.

    The data is in common too: see `resuming`.
    """
    if plan is None:
        return "without privacy"
    how, moves = plan.mechanism, plan.adaptive
    clipping = f" (adaptive, count_noise {moves.count_noise!r})" if moves else ""
    return (
        f"with dp={p.dp}, {p.owners} owners,"
        f" noise_multiplier {how.noise_multiplier!r}, sampling_rate {how.sampling_rate!r},"
        f" clipping_norm {plan.clipping_norm!r}{clipping} and {p.local_steps} local_steps"
    )


def _learn(run: track.Run, script: Path, preload: tuple[str, ...]) -> None:
    p = run.params
    plan = run.plan if p.dp != "none" else None
    rounds = plan.mechanism.steps // p.local_steps if plan else p.rounds
    options = Options(
        aggregation=p.aggregation,
        approval=p.approval,
        rounds=rounds,
        threshold=p.threshold,
        clip=FAR if p.dp == "local" else p.clipping_norm,
        round_seconds=p.round_seconds,
        encrypt=p.encrypt,
        keep=p.keep_messages,
        preload=preload,
    )
    moves = plan.adaptive if plan else None
    if moves:
        options.clip, options.count_noise = 1.0, moves.count_noise
    if plan and p.dp == "central":
        options.noise = plan.gradient_noise * options.clip
    fewest = threshold(options, p.owners, run)  # before anything is read
    resume = checkpoints.find(p.resume, ".npz") if p.resume else None
    if p.dataset == "mnist":
        data, brightest = needs.data(mnist.load, p.data_dir), 255
    else:
        data, brightest = needs.data(digits.load), digits.BRIGHTEST
    most = p.examples or None
    train_x, train_y = data.train_x[:most], data.train_y[:most]
    test_x = data.test_x.reshape(len(data.test_x), -1).astype(np.float32) / brightest
    inputs = test_x.shape[1]
    try:
        parts = shards.split(train_y, p.owners, p.split, p.alpha, p.seed)
    except ValueError as error:
        track.abort(str(error), 2)
    owned = {
        f"owner-{n}": {"x": train_x[part], "y": train_y[part]} for n, part in enumerate(parts, 1)
    }
    if plan and p.dp == "local" and len(train_x) > plan.records:
        track.abort(f"epsilon is for {plan.records} images at most, and there are more", 2)
    run.use(datasets.fingerprint(data.train_x, data.train_y))
    kept = Checkpoints(run, _kind(p, plan), owned if plan else None)
    mock = {"x": np.zeros_like(train_x[:4]), "y": np.zeros_like(train_y[:4])}

    first = mlp.first(inputs, p.seed)
    norm = plan.clipping_norm if plan and moves else 0.0
    model = Trained(first, np.zeros(len(first)), clipping_norm=norm)
    if resume:
        model = kept.read(resume, model)
        if model.round >= rounds:
            why = f"has been trained for {model.round} rounds already: raise --rounds"
            track.abort(f"{resume} {why}", 2)
        if plan:
            options.charged = run.resumed(model.round * p.local_steps, resume)
    done = model.round
    options.plan, options.local_steps, options.done = plan, p.local_steps, done

    params = {name: getattr(p, name) for name in JOB_PARAMS}
    params |= {"rounds": rounds, "brightest": brightest}
    if plan and p.dp == "local":
        params |= {
            "sampling_rate": plan.mechanism.sampling_rate,
            "noise_multiplier": plan.mechanism.noise_multiplier,
            "clipping_norm": plan.clipping_norm,
            "local_steps": p.local_steps,
            "expected": plan.batch_size / p.owners,
        }
    if plan:
        how = plan.mechanism
        both = ""
        if moves:
            both = f" (updates' {options.noise:.4g}, and {moves.count_noise:.4g} on a count)"
        print(
            f"{how.steps} steps, noise multiplier {how.noise_multiplier:.4g}{both}, epsilon"
            f" {plan.epsilon:.4g} at delta {plan.delta:g} for {plan.unit}s ({plan.relation})",
            flush=True,
        )
        if not plan.private:
            print("warning: without noise nothing is private", flush=True)
        loud = loudness.warning(len(first), options, p.owners, fewest, plan.epsilon)
        if loud:
            print(loud, flush=True)
            run.note(loud)
    images = "" if plan else f" of {len(train_x)} images"  # how many is private data's, too
    print(f"{p.owners} owners{images} load {preload[-1]} ...", flush=True)
    with needs.syft():
        from traindeck.recipes.shared.federated.scientist.founding import Founding
    every = -(-rounds // CHECKPOINTS)
    began = time.perf_counter()
    with Founding(
        run,
        script,
        dataset=p.dataset,
        shards=owned,
        mock=mock,
        params=params,
        size=len(first),
        options=options,
    ) as federation:
        ready = time.perf_counter()
        if not options.encrypt:
            print("warning: encryption is off: this is to see what can be read, not to train")
        print(f"{federation.status.visible} Ready after {ready - began:.1f} s.", flush=True)
        lost: list[str] = []
        for number in range(done + 1, rounds + 1):
            if plan and not all(run.spend() for _ in range(p.local_steps)):
                kept.write(model)
                raise FederationOverBudget(run.problem)
            norm = model.clipping_norm
            outcome = federation.round(number, model.weights, norm)
            velocity = p.server_momentum * model.velocity + outcome.update
            weights = np.asarray(model.weights + p.server_lr * velocity, np.float32)
            clipping = {"clipping_norm": norm} if moves else {}
            if moves:
                norm = moves.next_norm(norm, outcome.count, outcome.examples)
            model = Trained(weights, velocity, number, norm)
            loss, accuracy = mlp.evaluate(weights, test_x, data.test_y)
            federation.tell(number, outcome, accuracy=accuracy, **clipping)
            run.log(number, {"test/loss": loss, "test/accuracy": accuracy, **clipping})
            run.log(number, round_seconds=outcome.seconds, owners=p.owners - len(outcome.lost))
            run.progress(number, rounds)
            stopping = run.should_stop()
            news = outcome.lost != lost
            lost = outcome.lost
            if stopping or news or number % every == 0 or number == rounds:
                kept.write(model)
                without = f"  without {federation.named(lost)}" if lost else ""
                clipped = f"  clipped to {clipping['clipping_norm']:.4g}" if moves else ""
                print(
                    f"round {number}/{rounds}  test loss {loss:.4f}  test accuracy {accuracy:.4f}"
                    f"{clipped}  {outcome.seconds:.2f} s{without}",
                    flush=True,
                )
            if stopping:
                print(f"stopped on request after round {number} of {rounds}", flush=True)
                break
        federation.end_rounds()
        a_minute = 60 * (number - done) / (time.perf_counter() - ready)
        print(f"{a_minute:.0f} rounds a minute", flush=True)
    if not stopping:
        publishing.network(run, model.weights, p.dataset, preload[-1])
