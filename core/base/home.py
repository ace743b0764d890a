"""Where traindeck keeps everything: `$TRAINDECK_HOME`, or `~/.traindeck`."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.environ import HOME
from traindeck.core.base.errors import UsageError

FOLDERS = ("runs", "trash", "recipes", "queue", "locks", "cache", "envs")
FILES = (
    "catalogue.json",
    "catalogue.lock",
    "clipboard.txt",
    "last.json",
    "ledger",
    "secret.key",
    "settings.toml",
    "state.json",
    "statement.key",
    "traindeck.log",
)


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of all runs, private to its user (mode 0700)."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """The home of this user. Raises UsageError when the variable names no folder."""
        given = os.environ.get(HOME)
        try:
            return cls(Path(given).expanduser().absolute() if given else Path.home() / ".traindeck")
        except (RuntimeError, OSError) as error:
            raise UsageError(f"{HOME}={given or ''}: {error}") from None

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def trash(self) -> Path:
        return self.root / "trash"

    @property
    def recipes(self) -> Path:
        return self.root / "recipes"

    @property
    def ledger(self) -> Path:
        return self.root / "ledger"

    @property
    def queue(self) -> Path:
        return self.root / "queue"

    @property
    def locks(self) -> Path:
        return self.root / "locks"

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def catalogue(self) -> Path:
        return self.root / "catalogue.json"

    @property
    def settings(self) -> Path:
        return self.root / "settings.toml"

    def make(self) -> None:
        """Make the folders, private to the user.

        A folder that holds other things is one only if all of traindeck's stand among them.
        Raises OSError when that cannot be done or when the folder is somebody else's.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = set(os.listdir(self.root))
        foreign = {name for name in there if not _is_ours(name)}
        if foreign and not there.issuperset(FOLDERS):
            why = "holds other things: not a home of traindeck, and not made one"
            raise OSError(errno.ENOTEMPTY, why, str(self.root))
        if self.root.stat().st_mode & 0o077:
            self.root.chmod(0o700)
        for name in FOLDERS:
            (self.root / name).mkdir(mode=0o700, exist_ok=True)


def _is_ours(name: str) -> bool:
    """Whether traindeck makes what goes by this name, or a temporary of it (see `files`)."""
    return name in FOLDERS or name in FILES or name.startswith(tuple(f".{f}." for f in FILES))
