"""Weights that other programs have loaded already: where their caches keep a file, and its hash."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cached:
    """A file in the cache of Hugging Face, PyTorch (where timm keeps its own) or Keras.

    cache    huggingface, torch or keras
    file     its name there; of Hugging Face it is in a snapshot of `repository`
    digest   what its `algorithm`'s begins with; of Hugging Face the cache itself says it: the
             blob that a file of weights leads to is named by its sha256
    licence  and where that is said
    source   who made it
    """

    cache: str
    file: str
    licence: str
    source: str
    repository: str = ""
    algorithm: str = "sha256"
    digest: str = ""

    @property
    def place(self) -> Path:
        """Where it is, if it is there: of a snapshot, that which `main` was."""
        if self.cache == "torch":
            return _root("TORCH_HOME", ".cache/torch") / "hub/checkpoints" / self.file
        if self.cache == "keras":
            return _root("KERAS_HOME", ".keras") / "models" / self.file
        hub = os.environ.get("HF_HUB_CACHE")
        folder = Path(hub) if hub else _root("HF_HOME", ".cache/huggingface") / "hub"
        folder = folder.expanduser() / f"models--{self.repository.replace('/', '--')}"
        try:
            revision = (folder / "refs/main").read_text().strip()
        except (OSError, UnicodeError):
            revision = ""
        if not re.fullmatch(r"[0-9a-f]+", revision):
            revision = "main"
        return folder / "snapshots" / revision / self.file

    def wrong(self, path: Path) -> str:
        """What its hash is and should be, where it is another; empty where it is right."""
        expected = self.digest
        if self.cache == "huggingface":
            blob = path.resolve().name
            expected = blob if re.fullmatch(r"[0-9a-f]{64}", blob) else ""
        with path.open("rb") as file:
            own = hashlib.file_digest(file, self.algorithm).hexdigest()
        if own.startswith(expected):
            return ""
        return f"its {self.algorithm} is {own}, not {expected}"


def _root(variable: str, usual: str) -> Path:
    given = os.environ.get(variable)
    if given:
        return Path(given).expanduser()
    home = Path.home()
    shared = os.environ.get("XDG_CACHE_HOME")
    if shared and usual.startswith(".cache/"):
        return Path(shared).expanduser() / usual.removeprefix(".cache/")
    return home / usual
