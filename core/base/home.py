"""Where traindeck keeps everything: `$TRAINDECK_HOME`, or `~/.traindeck`."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from traindeck.core.base.environ import HOME
from traindeck.core.base.errors import UsageError

FIRST = ("runs", "trash", "recipes", "queue", "locks", "cache", "envs")
"""The folders that any home has, be it of an older traindeck."""
FOLDERS = (*FIRST, "models")
FILES = (
    "catalogue.json",
    "catalogue.lock",
    "clipboard.txt",
    "last.json",
    "ledger",
    "ledger.witness",
    "secret.key",
    "settings.toml",
    "state.json",
    "statement.key",
    "sweeps",
    "traindeck.log",
    "versus.lock",
)


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of all runs, private to its user (mode 0700)."""

    root: Path

    @classmethod
    def default(cls) -> Home:
        """The home of this user. Raises UsageError when the variable names no folder.

        Without the variable it is never another user's, as `sudo` would have it that keeps the
        user's `HOME`: root's files in there could not be used by that user any more, and what
        stands there (recipes, settings) would be done with root's rights. UsageError, too.
        """
        given = os.environ.get(HOME)
        try:
            if given:
                return cls(Path(given).expanduser().absolute())
            home = cls(Path.home() / ".traindeck")
        except (RuntimeError, OSError) as error:
            raise UsageError(f"{HOME}={given or ''}: {error}") from None
        if owner := home.owner():
            raise UsageError(
                f"{home.root} belongs to {owner} and you are {_user(os.geteuid())}: go on as"
                f" {owner}, or name a home by {HOME}, that one if it is meant"
            )
        return home

    def owner(self) -> str:
        """Who it belongs to, if that is another user; empty when it is ours, or would be."""
        for path, ours in ((self.root, (os.geteuid(),)), (self.root.parent, (os.geteuid(), 0))):
            try:
                uid = path.stat().st_uid
            except OSError:
                continue
            return "" if uid in ours else _user(uid)
        return ""

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
    def models(self) -> Path:
        return self.root / "models"

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

    def moved(self, path: str) -> str:
        """Where a path into it leads that was written before it was moved; any other as it is."""
        if os.sep not in path or os.path.lexists(path):
            return path
        parts = Path(path).parts
        for place in (self.runs, self.recipes):
            at = len(parts) - 1 - parts[::-1].index(place.name) if place.name in parts else 0
            there = place.absolute().joinpath(*parts[at + 1 :])
            if 0 < at < len(parts) - 1 and ".." not in parts and there.exists():
                return str(there)
        return path

    def make(self) -> None:
        """Make the folders, private to the user.

        A folder that holds other things is one only if all of traindeck's stand among them.
        Raises OSError when that cannot be done or when the folder is somebody else's.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        there = set(os.listdir(self.root))
        foreign = {name for name in there if not _is_ours(name)}
        if foreign and not there.issuperset(FIRST):
            why = "holds other things: not a home of traindeck, and not made one"
            raise OSError(errno.ENOTEMPTY, why, str(self.root))
        if self.root.stat().st_mode & 0o077:
            self.root.chmod(0o700)
        for name in FOLDERS:
            (self.root / name).mkdir(mode=0o700, exist_ok=True)


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def witnesses_of(ledgers: Path) -> Path:
    """Where a home keeps what it knows of its ledgers: beside their folder."""
    return ledgers.with_name(f"{ledgers.name}.witness")


def has_ledgers(ledgers: Path) -> bool:
    """Whether there are any, or the home knows that there were."""
    return ledgers.is_dir() or witnesses_of(ledgers).is_dir()


def _is_ours(name: str) -> bool:
    """Whether traindeck makes what goes by this name, or a temporary of it (see `files`)."""
    return name in FOLDERS or name in FILES or name.startswith(tuple(f".{f}." for f in FILES))
