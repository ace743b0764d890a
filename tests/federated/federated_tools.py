"""Federations for the tests: owners of a few digits each, and a search of all that crossed."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import itertools
import json
import os
import re
import signal
import tarfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

pytest.importorskip("syft", reason="syft is not installed")
with warnings.catch_warnings():  # syft's own, of its own libraries
    warnings.simplefilter("ignore")
    from traindeck.recipes.shared.federated.post import mail
    from traindeck.recipes.shared.federated.post.syft import Site
    from traindeck.recipes.shared.federated.scientist.dialogue import Dialogue
    from traindeck.recipes.shared.federated.scientist.federation import Federation
    from traindeck.recipes.shared.federated.scientist.founding import Founding

from tests.federated import federated_job
from traindeck.core import track
from traindeck.core.run.events import parse
from traindeck.recipes.shared.federated.job import mlp
from traindeck.recipes.shared.federated.post.mail import SCIENTIST, address
from traindeck.recipes.shared.federated.scientist.options import Options
from traindeck.recipes.shared.training.data import digits

JOB = Path(federated_job.__file__)
INPUTS = 64
SIZE = mlp.size(INPUTS)

Shards = dict[str, dict[str, NDArray[Any]]]
Row = NDArray[np.float64]


def shards(*sizes: int) -> Shards:
    """So many digits for each owner."""
    images = digits.load()
    ends = np.cumsum((0, *sizes))
    return {
        f"owner-{k}": {"x": images.train_x[a:b], "y": images.train_y[a:b]}
        for k, (a, b) in enumerate(itertools.pairwise(ends), 1)
    }


MOCK = {"x": np.zeros((1, 8, 8), np.uint8), "y": np.zeros(1, np.uint8)}


@contextlib.contextmanager
def as_before() -> Iterator[None]:
    """A recipe's process is its own; ours keeps its file mode mask and what signals do."""
    umask = os.umask(0o022)
    os.umask(umask)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        os.umask(umask)
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def federation(
    folder: Path,
    owned: Shards,
    *,
    tricks: Mapping[str, Any] | None = None,
    script: Path = JOB,
    **options: Any,
) -> Iterator[Federation]:
    """A federation in a run folder, its owners' processes up and agreed."""
    chosen = Options(**{"approval_seconds": 120.0, **options})
    with as_before(), track.Run(folder=folder) as run:
        founding = Founding(
            run,
            script,
            dataset="digits",
            shards=owned,
            mock=MOCK,
            params={"tricks": dict(tricks or {})},
            size=SIZE,
            options=chosen,
        )
        with founding as made:
            yield made


def speaking(made: Founding, **parts: Any) -> Dialogue:
    """The dialogue of a federation whose owners were not started, with what a test needs of it."""
    nothing = dict.fromkeys(("mail", "site", "processes", "log"))
    return Dialogue(
        run=made._run,
        root=made.root,
        options=made.options,
        status=made.status,
        roster=made.roster,
        pins=made._pins,
        session=made._session,
        **{**nothing, "job": "a-job", **parts},
    )


def first() -> NDArray[np.float32]:
    return mlp.first(INPUTS, 0)


def true_update(weights: NDArray[np.float32], shard: Mapping[str, NDArray[Any]]) -> Row:
    """What one owner's script gives to its gate."""
    row: Row = federated_job.update(weights, shard["x"], shard["y"])
    return row


def mean(weights: NDArray[np.float32], owned: Shards, names: Iterable[str]) -> Row:
    """Mean of these owners' updates, by their examples."""
    chosen = [owned[name] for name in names]
    parts = [true_update(weights, shard) for shard in chosen]
    row: Row = np.average(parts, axis=0, weights=[len(shard["x"]) for shard in chosen])
    return row


# What is seen


def status(root: Path, owner: str) -> dict[str, Any]:
    """What an owner says of itself, strictly read."""

    def none(word: str) -> float:
        raise AssertionError(f"{owner}'s status has a {word}")

    text = (root / "owners" / owner / "status.json").read_text()
    facts: dict[str, Any] = json.loads(text, parse_constant=none)
    return facts


def shown(root: Path) -> dict[str, Any]:
    """What the aggregator shows."""
    facts: dict[str, Any] = json.loads((root / "coordinator.json").read_text())
    return facts


def processes_of_a_job(sandbox: str) -> int:
    """How many there are for one: its warden, the first of its pid namespace, its own."""
    namespaces = sandbox.partition("namespaces of its own: ")[2].partition(";")[0]
    return 2 + ("pid" in namespaces)


def log(root: Path, owner: str) -> str:
    return (root / "owners" / owner / "output.log").read_text()


def notes(root: Path) -> list[str]:
    """What the run noted down for who looks at it."""
    events = map(parse, (root.parent / "events.jsonl").read_bytes().splitlines())
    return [str(event["text"]) for event in events if event and event["type"] == "note"]


# All that crossed


@dataclass(frozen=True)
class Crossed:
    """Everything that lay on the drive, with what unpacks from it, by its place."""

    views: dict[str, list[bytes]]

    def where(self, needles: Iterable[bytes]) -> set[str]:
        """Places that hold one of these, such as are not the same few bytes over and over."""
        marks: dict[int, set[bytes]] = {}
        for needle in needles:
            if len({*needle}) < 6:
                continue
            at = max(range(0, len(needle) - 7, 4), key=lambda at: len({*needle[at : at + 8]}))
            marks.setdefault(int.from_bytes(needle[at : at + 8], "little"), set()).add(needle)
        wanted = np.fromiter(marks, np.uint64)
        places = set()
        for place, views in self.views.items():
            for view in views:
                if len(view) >= 8:
                    windows = sliding_window_view(np.frombuffer(view, np.uint8), 8)
                    words = np.ascontiguousarray(windows).view("<u8").ravel()
                    for mark in set(words[np.isin(words, wanted)].tolist()):
                        if any(needle in view for needle in marks[mark]):
                            places.add(place)
        return places


def crossed(folder: Path) -> Crossed:
    """The content of all files below a folder: as it is, unpacked, and out of base64."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return Crossed({str(f.relative_to(folder)): list(_views(f.read_bytes())) for f in files})


def _views(data: bytes, depth: int = 3) -> Iterator[bytes]:
    yield data
    if not depth:
        return
    at = data.find(b"\x1f\x8b\x08")
    if at >= 0:
        with contextlib.suppress(OSError, EOFError, gzip.zlib.error):
            inner = gzip.decompress(data[at:])
            yield from _views(inner, depth - 1)
            with (
                contextlib.suppress(tarfile.TarError),
                tarfile.open(fileobj=io.BytesIO(inner)) as archive,
            ):
                for part in archive.getmembers():
                    if member := archive.extractfile(part):
                        yield from _views(member.read(), depth - 1)
    for text in re.findall(rb"[A-Za-z0-9+/_-]{40,}", data):
        plain = text.translate(bytes.maketrans(b"-_", b"+/"))
        with contextlib.suppress(ValueError):
            yield from _views(base64.b64decode(plain + b"=" * (-len(plain) % 4)), depth - 1)


def spellings(values: NDArray[Any]) -> Iterator[bytes]:
    """A row of numbers as it may be found: raw of several types, in base64, in decimals."""
    row = np.ascontiguousarray(values).ravel()
    for kind in dict.fromkeys((row.dtype.str, "<f4", "<f8", ">f4", ">f8")):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = row.astype(kind).tobytes()
        yield raw
        for shift in range(3):  # as it stands in base64 of something longer
            yield base64.b64encode(b"\0" * shift + raw)[4:-4]
        yield raw.hex().encode()
    for comma in (", ", ",", " ", "\n"):
        yield comma.join(map(str, row.tolist())).encode()


def secrets_of(root: Path) -> dict[str, list[bytes]]:
    """Private keys that lie in the homes of the parties, as they may be found."""
    secrets: dict[str, list[bytes]] = {}
    for path in root.glob("owners/*/identity"):
        secrets[f"{path.parent.name}: identity"] = _spelled(path.read_bytes())
    for path in root.rglob("crypto_keys.json"):
        for name, key in json.loads(path.read_text())["keys_jwk"].items():
            raw = base64.urlsafe_b64decode(key["d"] + "=")
            secrets[f"{path.parent.parent.name}: {name}"] = [key["d"].encode(), *_spelled(raw)]
    return secrets


def _spelled(raw: bytes) -> list[bytes]:
    assert len(raw) == 32
    return [raw, base64.b64encode(raw)[:-2], raw.hex().encode()]


def opened(root: Path, *, sealed: bool = True) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """Who keeps all and has the scientist's keys reads this: sender, facts and body of letters."""
    home, drive = root / "scientist", root / "drive"
    scientist = Site(address(SCIENTIST), home, drive, owner=False, encrypt=sealed)
    scientist.not_ready([])
    for path in sorted((root / "drive" / "mail" / "kept").glob(f"{SCIENTIST}-*")):
        sender = path.name.split("-", 2)[2]
        whole = scientist.unseal(mail.address(sender), path.read_bytes())
        length = int.from_bytes(whole[:8], "little")
        yield sender, json.loads(whole[8 : 8 + length]), whole[8 + length :]


def propose(site: Site, to: str, path: str, content: str, old: str = "") -> None:
    """Have syft ask a peer to write a file into its datasite: how jobs come, and what else may.

    old: content of the file that is there already.
    """
    from syft.sync.messages.proposed_filechange import (
        ProposedFileChange,
        ProposedFileChangesMessage,
    )
    from syft.sync.utils.syftbox_utils import get_event_hash_from_content

    hashed = get_event_hash_from_content(old) if old else None
    change = ProposedFileChange(
        path_in_datasite=Path(path), content=content, datasite_email=to, old_hash=hashed
    )
    message = ProposedFileChangesMessage(sender_email=site.email, proposed_file_changes=[change])
    router = site._client.sync_engine.datasite_watcher_syncer.connection_router
    router.watcher_send_proposed_file_changes_message(to, message)


def cosine(a: Row, b: Row) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
