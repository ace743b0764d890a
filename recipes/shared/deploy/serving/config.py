"""TensorFlow Serving's model config: what is served, as a file or by ReloadConfig."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format

from traindeck.core.base.errors import NotFoundError, TraindeckError, UsageError
from traindeck.core.base.files import read_bounded
from traindeck.recipes.shared.deploy.serving.messages import Message, message
from traindeck.recipes.shared.deploy.serving.store import Model, say

MAX_BYTES = 1 << 20


def read(path: Path, prefer: str = "") -> list[Model]:
    """The models of a config file in protobuf's text format. Raises NotFoundError, UsageError."""
    try:
        text = read_bounded(path, MAX_BYTES, follow=True).decode()
        return models(
            text_format.Parse(text, message("tensorflow.serving.ModelServerConfig")()), prefer
        )
    except OSError as error:
        raise NotFoundError(f"{path}: {error.strerror or error}") from None
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is no model config of TensorFlow Serving: {error}") from None


class Watched:
    """A config file that is read again when it changes. The first reading is the caller's."""

    def __init__(self, path: Path, prefer: str = "") -> None:
        self._path, self._prefer = path, prefer
        self._seen = self._looks()

    def __call__(self) -> list[Model] | None:
        """The models where the file has changed, and is sound; what is wrong with it is said."""
        looks = self._looks()
        if looks == self._seen or looks is None:
            return None
        self._seen = looks
        try:
            return read(self._path, self._prefer)
        except TraindeckError as error:
            say(f"{error}; what was served goes on", error=True)
            return None

    def _looks(self) -> object:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns


def models(config: Message, prefer: str = "") -> list[Model]:
    """The models of a ModelServerConfig."""
    made = []
    for one in config.model_config_list.config:
        policy = one.model_version_policy
        made.append(
            Model(
                one.name,
                Path(one.base_path),
                policy.WhichOneof("policy_choice") or "latest",
                policy.latest.num_versions or 1,
                frozenset(policy.specific.versions),
                dict(one.version_labels),
                prefer,
            )
        )
    return made


def policy(text: str) -> tuple[str, int, frozenset[int]]:
    """What `versions` says: `latest`, `latest:2`, `all`, `stable` or numbers such as `3,5`.

    Raises UsageError.
    """
    word, _, count = text.partition(":")
    if word == "latest" and (not count or (count.isdigit() and int(count))):
        return "latest", int(count or 1), frozenset()
    if text in ("all", "stable"):
        return text, 1, frozenset()
    numbers = text.split(",")
    if all(number.isascii() and number.isdigit() for number in numbers):
        return "specific", 1, frozenset(map(int, numbers))
    raise UsageError(f"versions: {text!r} is none of latest, latest:2, all, stable, or 3,5")
