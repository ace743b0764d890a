"""Weights of EfficientNet-Lite0 as others keep them: their caches, their names, Keras's files."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.recipes.random_weights import lite0_tensors, safetensors
from traindeck.recipes.shared.training.data.idx import DataError
from traindeck.recipes.shared.training.pretrained import lite0, weights


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return safetensors(tmp_path_factory.mktemp("weights") / "lite0.safetensors", lite0_tensors())


def network(path: Path) -> lite0.Network:
    return lite0.network(weights.find(lite0.PUBLISHED, str(path), None))


class TestCaches:
    """What other programs have loaded, where they keep it."""

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, lite0.PUBLISHED.module, None)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        monkeypatch.delenv("HF_HUB_CACHE", raising=False)
        for variable in ("HF_HOME", "TORCH_HOME", "KERAS_HOME"):
            monkeypatch.setenv(variable, str(tmp_path / variable))

    def hub(self, tmp_path: Path, tensors: Any) -> Path:
        """As huggingface_hub lays it out: a snapshot's file leads to a blob called by its hash."""
        folder = tmp_path / "HF_HOME" / "hub" / "models--timm--tf_efficientnet_lite0.in1k"
        for name in ("refs", "blobs", "snapshots/0123abcd"):
            (folder / name).mkdir(parents=True)
        (folder / "refs" / "main").write_text("0123abcd")
        made = safetensors(folder / "blobs" / "new", tensors)
        blob = made.rename(made.with_name(hashlib.sha256(made.read_bytes()).hexdigest()))
        link = folder / "snapshots" / "0123abcd" / "model.safetensors"
        link.symlink_to(Path("../..") / "blobs" / blob.name)
        return blob

    def test_hugging_faces_is_the_same_network_by_timms_names(
        self, tmp_path: Path, file: Path
    ) -> None:
        self.hub(tmp_path, by_timms_names(lite0_tensors()))
        found = weights.find(lite0.PUBLISHED, None, None)
        assert "Hugging Face" in found.source and "Apache-2.0" in found.licence
        assert "ImageNet-1k" in found.saw
        assert same(lite0.network(found), network(file))

    def test_a_file_that_its_name_does_not_fit_is_refused(self, tmp_path: Path) -> None:
        blob = self.hub(tmp_path, by_timms_names(lite0_tensors()))
        blob.write_bytes(blob.read_bytes()[:-4] + b"\0\0\0\1")
        with pytest.raises(DataError, match="is not what was published: its sha256 is"):
            weights.find(lite0.PUBLISHED, None, None)

    @pytest.mark.parametrize(
        ("variable", "place"),
        [
            ("TORCH_HOME", "hub/checkpoints/tf_efficientnet_lite0-0aa007d2.pth"),
            ("KERAS_HOME", "models/efficientnet_lite_b0.h5"),
        ],
    )
    def test_timms_and_keras_are_found_and_known_by_their_hashes(
        self, tmp_path: Path, variable: str, place: str
    ) -> None:
        path = tmp_path / variable / place
        path.parent.mkdir(parents=True)
        path.write_bytes(b"something else")
        with pytest.raises(DataError, match=r"is not what was published: its (sha256|md5) is"):
            weights.find(lite0.PUBLISHED, None, None)

    def test_where_nothing_is_it_says_where_it_looked(self) -> None:
        with pytest.raises(DataError, match=r"looked in others' caches as well: .*HF_HOME"):
            weights.find(lite0.PUBLISHED, None, None)


class TestNames:
    def test_timms_other_network_of_the_same_shapes_is_not_taken_for_it(
        self, tmp_path: Path, file: Path
    ) -> None:
        path = safetensors(tmp_path / "model.safetensors", by_timms_names(lite0_tensors()))
        with pytest.raises(DataError, match=r"only tf_efficientnet_lite0 is this one: keep its"):
            network(path)
        (tmp_path / "config.json").write_text('{"architecture": "efficientnet_lite0"}')
        with pytest.raises(DataError, match="only tf_efficientnet_lite0"):
            network(path)
        (tmp_path / "config.json").write_text('{"architecture": "tf_efficientnet_lite0"}')
        assert same(network(path), network(file))

    def test_what_has_more_than_it_is_another(self, tmp_path: Path) -> None:
        tensors = lite0_tensors() | {"_blocks.0._se_reduce.bias": np.zeros(8, np.float32)}
        with pytest.raises(DataError, match=r"it has _blocks\.0\._se_reduce\.bias as well"):
            network(safetensors(tmp_path / "b0.safetensors", tensors))

    @pytest.mark.framework
    @pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's own
    @pytest.mark.parametrize("suffix", [".keras", ".weights.h5", ".h5"])
    def test_keras_files_are_read_by_the_names_of_their_layers(
        self, tmp_path: Path, file: Path, tf: Any, suffix: str
    ) -> None:
        path = tmp_path / f"lite0{suffix}"
        model = keras_lite0(tf, lite0_tensors())
        (model.save_weights if "weights" in suffix else model.save)(path)
        assert same(network(path), network(file))

    def test_a_keras_file_that_leads_to_another_is_refused(self, tmp_path: Path) -> None:
        h5py = pytest.importorskip("h5py")
        (tmp_path / "secret").write_bytes(bytes(4))
        path = tmp_path / "evil.h5"
        with h5py.File(path, "w") as made:
            group = made.create_group("stem_conv")
            external = [(str(tmp_path / "secret"), 0, 4)]
            group.create_dataset("kernel", (1,), np.float32, external=external)
        with pytest.raises(DataError, match="is not an array of numbers of its own"):
            network(path)


def same(one: lite0.Network, other: lite0.Network) -> bool:
    def all_of(net: lite0.Network) -> list[Any]:
        every = [net.stem, *(c for b in net.blocks for c in b.convolutions), net.head]
        return [*(c.kernel for c in every), *(c.bias for c in every), *net.classes]

    return all(np.array_equal(a, b) for a, b in zip(all_of(one), all_of(other), strict=True))


def by_timms_names(tensors: Any) -> Any:
    """Written down by hand from timm's own: its first stage has no expansion."""
    named, number = {}, 0
    names = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
    names["_fc"] = "classifier"
    for stage, (count, *_) in enumerate(lite0.STAGES):
        for place in range(count):
            ours, theirs = f"_blocks.{number}", f"blocks.{stage}.{place}"
            parts = ("_depthwise_conv", "_bn1", "_project_conv", "_bn2")
            called = ("conv_dw", "bn1", "conv_pw", "bn2")
            if stage:
                parts = ("_expand_conv", "_bn0", *parts)
                called = ("conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3")
            names |= {f"{ours}.{a}": f"{theirs}.{b}" for a, b in zip(parts, called, strict=True)}
            number += 1
    for name, tensor in tensors.items():
        layer, _, part = name.rpartition(".")
        named[f"{names[layer]}.{part}"] = tensor
    return named


def keras_lite0(tf: Any, tensors: Any) -> Any:
    """Layers called as Keras's EfficientNets call theirs."""
    layers, todo = tf.keras.layers, []

    def after(x: Any, name: str, norm: str, own: str, own_norm: str, **kind: Any) -> Any:
        kernel = tensors[f"{own}.weight"]
        depthwise = kernel.shape[1] == 1
        make = layers.DepthwiseConv2D if depthwise else layers.Conv2D
        shape = () if depthwise else (len(kernel),)
        layer = make(*shape, kernel.shape[2], use_bias=False, name=name, padding="same", **kind)
        x = layer(x)
        todo.append((layer, [kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]))
        layer = layers.BatchNormalization(name=norm)
        parts = ("weight", "bias", "running_mean", "running_var")
        todo.append((layer, [tensors[f"{own_norm}.{part}"] for part in parts]))
        return layer(x)

    images = x = layers.Input((32, 32, 3))
    x, number = after(x, "stem_conv", "stem_bn", "_conv_stem", "_bn0", strides=2), 0
    for stage, (count, *_) in enumerate(lite0.STAGES):
        for place in range(count):
            name, own = f"block{stage + 1}{'abcd'[place]}_", f"_blocks.{number}."
            if stage:
                convolved = f"{name}expand_conv", f"{name}expand_bn"
                x = after(x, *convolved, f"{own}_expand_conv", f"{own}_bn0")
            x = after(x, f"{name}dwconv", f"{name}bn", f"{own}_depthwise_conv", f"{own}_bn1")
            convolved = f"{name}project_conv", f"{name}project_bn"
            x = after(x, *convolved, f"{own}_project_conv", f"{own}_bn2")
            number += 1
    x = layers.GlobalAveragePooling2D()(after(x, "top_conv", "top_bn", "_conv_head", "_bn1"))
    dense = layers.Dense(1000, name="predictions")
    model = tf.keras.Model(images, dense(x))
    todo.append((dense, [tensors["_fc.weight"].T, tensors["_fc.bias"]]))
    for layer, values in todo:
        layer.set_weights(values)
    return model
