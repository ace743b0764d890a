"""Others' weights: the right file or none, and one network in both frameworks."""

from __future__ import annotations

import hashlib
import importlib.util
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes import random_weights
from tests.recipes.random_weights import lite0_tensors, safetensors
from traindeck.recipes.shared.training.data import films
from traindeck.recipes.shared.training.data.idx import DataError
from traindeck.recipes.shared.training.pretrained import lite0, minilm, weights


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return safetensors(tmp_path_factory.mktemp("weights") / "lite0.safetensors", lite0_tensors())


def network(path: Path) -> lite0.Network:
    return lite0.network(weights.find(lite0.PUBLISHED, str(path), None))


class TestFiles:
    def test_a_folder_that_has_one_file_is_that_file(self, file: Path) -> None:
        found = weights.find(lite0.PUBLISHED, str(file.parent), None)
        assert found.path == file
        assert found.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert "your own" in found.source and lite0.PUBLISHED.licence not in found.licence

    def test_a_hash_that_is_asked_for_must_be_the_files(self, file: Path) -> None:
        own = hashlib.sha256(file.read_bytes()).hexdigest()
        assert weights.find(lite0.PUBLISHED, str(file), own.upper()).path == file
        with pytest.raises(DataError, match=f"is another file: its sha256 is {own}, not 00"):
            weights.find(lite0.PUBLISHED, str(file), "00")

    def test_no_code_of_a_pickle_is_run(self, tmp_path: Path) -> None:
        pytest.importorskip("torch")

        class Bomb:
            def __reduce__(self) -> Any:
                return Path.touch, (tmp_path / "ran",)

        path = tmp_path / "evil.pth"
        path.write_bytes(pickle.dumps({"_fc.bias": Bomb()}))
        with pytest.raises(DataError, match="no weights can be read from it"):
            network(path)
        assert not (tmp_path / "ran").exists()

    @pytest.mark.parametrize(
        "damage",
        [
            lambda whole: whole[:1000],
            lambda whole: whole[:-4],
            lambda whole: b"\xff" * 8 + whole[8:],
            lambda whole: b"",
        ],
        ids=["torn header", "torn values", "length of nonsense", "empty"],
    )
    def test_a_damaged_file_is_refused_by_name(
        self, file: Path, tmp_path: Path, damage: Any
    ) -> None:
        path = tmp_path / "part.safetensors"
        path.write_bytes(damage(file.read_bytes()))
        with pytest.raises(DataError, match=r"part\.safetensors: no weights can be read"):
            network(path)

    def test_another_networks_weights_are_refused(self, tmp_path: Path) -> None:
        tensors = lite0_tensors()
        tensors["_fc.weight"] = tensors["_fc.weight"][:10]
        path = safetensors(tmp_path / "ten.safetensors", tensors)
        with pytest.raises(DataError, match=r"_fc\.weight is of shape \(10, 1280\)"):
            network(path)

    def test_a_package_that_was_altered_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        package = tmp_path / "altered_weights"
        package.mkdir()
        (package / "__init__.py").write_text("raise SystemExit('imported')")
        (package / "w.pth").write_bytes(b"something else")
        monkeypatch.syspath_prepend(str(tmp_path))
        asked = weights.Published(
            "Net", "altered_weights", "w.pth", "w==1", "ab" * 32, "", "", "photographs"
        )
        with pytest.raises(DataError, match="is not what was published: its sha256 is"):
            weights.find(asked, None, None)


@pytest.mark.framework
class TestBothFrameworks:
    def test_logits_agree_and_are_those_of_batch_normalisation(self, file: Path, tf: Any) -> None:
        logits_agree(network(file), tf, size=64)

    def test_features_agree_and_are_of_length_1(self, file: Path, tf: Any) -> None:
        import torch

        from traindeck.recipes.shared.training.pretrained import lite0_tf, lite0_torch

        net = network(file)
        images = np.random.default_rng(0).integers(0, 256, (3, 28, 28)).astype(np.float32)
        with torch.no_grad():
            ours = lite0_torch.Features(net, 28)(torch.from_numpy(images)).numpy()
        theirs = lite0_tf.features_model(net, 28)(tf.constant(images)).numpy()
        assert ours.shape == (3, lite0.FEATURES)
        assert np.abs(ours - theirs).max() < 1e-5
        assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() < 1e-5

    def test_batch_normalisation_is_folded_with_tensorflows_epsilon(self, file: Path) -> None:
        torch = pytest.importorskip("torch")
        tensors = lite0_tensors()
        first = network(file).stem
        x = torch.randn(2, 3, 8, 8)
        kernel, norm = torch.from_numpy(tensors["_conv_stem.weight"]), "_bn0"
        mean, variance, scale, shift = (
            torch.from_numpy(tensors[f"{norm}.{part}"])
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        convolve, normalise = torch.nn.functional.conv2d, torch.nn.functional.batch_norm
        wanted = normalise(convolve(x, kernel), mean, variance, scale, shift, eps=1e-3)
        folded = convolve(x, torch.from_numpy(first.kernel), torch.from_numpy(first.bias))
        assert float((wanted - folded).abs().max()) < 1e-5

    @pytest.mark.skipif(
        importlib.util.find_spec(lite0.PUBLISHED.module) is None, reason="no published weights"
    )
    def test_published_weights_are_the_pinned_ones_and_logits_agree(self, tf: Any) -> None:
        found = weights.find(lite0.PUBLISHED, None, None)
        assert found.sha256 == lite0.PUBLISHED.sha256
        logits_agree(lite0.network(found), tf, size=224)


def logits_agree(net: lite0.Network, tf: Any, size: int) -> None:
    import torch

    from traindeck.recipes.shared.training.pretrained import lite0_tf, lite0_torch

    images = np.random.default_rng(0).uniform(-1, 1, (2, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        ours = lite0_torch.Lite0(net)(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    theirs = np.asarray(lite0_tf.lite0_model(net, size)(images, training=False))
    assert ours.std() > 0.1
    assert np.abs(ours - theirs).max() < 1e-4


def test_enlarging_keeps_flat_lines_flat_and_slopes_sloping() -> None:
    matrix = lite0.enlarging(28)
    assert np.abs(matrix.sum(1) - 1).max() < 1e-6
    inside = matrix @ np.arange(28.0, dtype=np.float32)
    assert np.abs(np.diff(inside)[8:-8] - 28 / lite0.SIZE).max() < 1e-4


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> minilm.Network:
    folder = random_weights.minilm(tmp_path_factory.mktemp("weights") / "minilm")
    return minilm.network(weights.find(minilm.PUBLISHED, str(folder), None))


class TestSentences:
    def test_words_are_cut_into_the_longest_pieces(self, transformer: minilm.Network) -> None:
        # [CLS] the film ##s a [UNK] ! [SEP]
        assert transformer.tokens("The FILMS: à!") == [2, 10, 7, 8, 1, 4, 9, 3]
        assert len(transformer.tokens("good " * 100)) == minilm.LONGEST

    @pytest.mark.parametrize(
        ("layers", "wrong"),
        [
            (5, r"encoder\.layer\.5\.attention\.self\.query\.weight is not there"),
            (7, r"it has encoder\.layer\.6\.\S+ as well"),
        ],
    )
    def test_a_transformer_of_other_layers_is_refused(
        self, tmp_path: Path, layers: int, wrong: str
    ) -> None:
        folder = random_weights.minilm(tmp_path / "w", layers)
        with pytest.raises(DataError, match=rf"no all-MiniLM-L6-v2: {wrong}"):
            minilm.network(weights.find(minilm.PUBLISHED, str(folder), None))

    def test_a_vocabulary_of_another_transformer_is_refused(self, tmp_path: Path) -> None:
        folder = random_weights.minilm(tmp_path / "w")
        with (folder / "vocab.txt").open("a") as file:
            file.write("more\n")
        with pytest.raises(DataError, match=r"weight is of shape \(11, 384\), not \(12, 384\)"):
            minilm.network(weights.find(minilm.PUBLISHED, str(folder), None))

    def test_features_are_computed_once_and_each_sentence_has_its_own(
        self, transformer: minilm.Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRAINDECK_HOME", str(tmp_path))
        data = sentences(["good", "the film a good film good good!", "bad films"], ["a film"])

        def lengths(tokens: Any, there: Any) -> Any:
            assert (tokens[~there] == 0).all()
            return np.repeat(there.sum(1, keepdims=True), minilm.FEATURES, 1)

        def never(tokens: Any, there: Any) -> Any:
            raise AssertionError("they are kept")

        for compute in (lengths, never):
            train, test = minilm.features(transformer, data, compute)
            assert train[:, 0].tolist() == [3, 10, 5]
            assert test.shape == (1, minilm.FEATURES)


def sentences(train: list[str], test: list[str]) -> films.Sentences:
    return films.Sentences(
        train, np.zeros(len(train), np.uint8), test, np.zeros(len(test), np.uint8)
    )


@pytest.mark.framework
class TestSentencesInBothFrameworks:
    TEXTS = ("good", "the film a good film good good!", "bad films", "a " * 100)

    def test_features_agree_and_are_of_length_1(self, transformer: minilm.Network, tf: Any) -> None:
        ours = features_agree(transformer, self.TEXTS)
        assert np.abs(np.linalg.norm(ours, axis=1) - 1).max() < 1e-5
        assert np.abs(ours - ours.mean(0)).max() > 0.01

    def test_a_gpu_is_kept_from_rounding_what_pytorch_would_not(
        self, transformer: minilm.Network, tf: Any
    ) -> None:
        tf.config.experimental.enable_tensor_float_32_execution(True)
        computing("tf", transformer)
        assert not tf.config.experimental.tensor_float_32_execution_enabled()

    @pytest.mark.parametrize("framework", ["torch", "tf"])
    def test_a_sentences_features_are_its_own_whatever_stands_beside_it(
        self, transformer: minilm.Network, tf: Any, framework: str
    ) -> None:
        computed = computing(framework, transformer)
        tokens = [transformer.tokens(text) for text in self.TEXTS]
        together = computed(*minilm.padded(tokens))
        for place, one in enumerate(tokens):
            alone = computed(*minilm.padded([one]))
            assert np.abs(alone[0] - together[place]).max() < 1e-5

    @pytest.mark.skipif(
        importlib.util.find_spec(minilm.PUBLISHED.module) is None, reason="no published weights"
    )
    def test_published_weights_are_the_pinned_ones_and_find_what_means_alike(self, tf: Any) -> None:
        found = weights.find(minilm.PUBLISHED, None, None)
        assert found.sha256 == minilm.PUBLISHED.sha256
        texts = ("A man is eating food.", "A man is eating a piece of bread.", "A girl carries it.")
        x = features_agree(minilm.network(found), texts)
        assert x[0] @ x[1] == pytest.approx(0.755, abs=0.01)
        assert abs(x[0] @ x[2]) < 0.3


def computing(framework: str, net: minilm.Network) -> Any:
    module = importlib.import_module(f"{minilm.__name__}_{framework}")
    return module.MiniLM(net).computed


def features_agree(net: minilm.Network, texts: Sequence[str]) -> Any:
    batch = minilm.padded([net.tokens(text) for text in texts])
    ours, theirs = (computing(framework, net)(*batch) for framework in ("torch", "tf"))
    assert ours.shape == (len(texts), minilm.FEATURES)
    assert np.abs(ours - theirs).max() < 1e-5
    return ours
