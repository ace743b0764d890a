"""TensorFlow's own: a SavedModel, as the run left it or made of a .keras file."""

from __future__ import annotations

import shutil
from pathlib import Path

from traindeck.core.models.bundle import SIGNATURE
from traindeck.recipes.shared.training import needs


def copy(model: Path, target: Path) -> None:
    """Put the files of a SavedModel into the folder of the bundle. Raises OSError."""
    unneeded = shutil.ignore_patterns(SIGNATURE)
    shutil.copytree(model, target, ignore=unneeded, dirs_exist_ok=True)


def of_keras(model: Path, target: Path) -> None:
    """Write a SavedModel of a .keras file. Raises OSError, ValueError."""
    with needs.framework("tensorflow"):
        import tensorflow as tf

    tf.keras.models.load_model(model, compile=False).export(target, verbose=False)
