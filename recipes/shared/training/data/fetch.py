"""Download a published file: from the first mirror that has it whole and unaltered."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Sequence
from pathlib import Path

from traindeck.recipes.shared.training.data.idx import DataError

TIMEOUT_SECONDS = 20.0
_CHUNK = 64 * 1024
_GZIP = 31  # zlib's window bits for a gzip wrapper


def fetch(
    name: str,
    sha256: str,
    mirrors: Sequence[str],
    folder: Path,
    timeout: float = TIMEOUT_SECONDS,
) -> Path:
    """Download gzip file `name` into `folder` and return its path.

    `sha256` is of the content, not of the gzip file, since mirrors differ in how they packed it.
    The file appears under its name only once it is whole and checked. `timeout` (seconds) bounds
    every wait for the network. Raises DataError with each mirror's fault when none will do.
    """
    target = folder / name
    part = folder / f".{name}.{os.getpid()}.part"
    faults = []
    try:
        _make_private(folder)
        for mirror in mirrors:
            url = f"{mirror.rstrip('/')}/{name}"
            try:
                _download(url, sha256, part, timeout)
            except DataError as error:
                faults.append(f"{url}: {error}")
                continue
            part.replace(target)
            return target
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink()
    raise DataError("; ".join(faults))


def _make_private(folder: Path) -> None:
    """Make the folder and those above it that are missing, readable by this user only."""
    for parent in reversed((folder, *folder.parents)):
        if not parent.exists():
            parent.mkdir(mode=0o700, exist_ok=True)


def _download(url: str, sha256: str, part: Path, timeout: float) -> None:
    """Write what `url` holds to `part`; raises DataError unless its content has the checksum."""
    content, digest = zlib.decompressobj(_GZIP), hashlib.sha256()
    with part.open("wb") as file:
        try:
            with urllib.request.urlopen(url, timeout=timeout) as response:
                total = response.length or 0
                bar, done = _Bar(part.name.split(".gz")[0].lstrip("."), total), 0
                while chunk := response.read(_CHUNK):
                    file.write(chunk)
                    digest.update(content.decompress(chunk))
                    done += len(chunk)
                    bar.show(done)
                bar.close(done)
        except zlib.error as error:
            raise DataError(f"is not gzip data ({error})") from None
        except urllib.error.HTTPError as error:
            raise DataError(f"answered {error.code} {error.reason}") from None
        except urllib.error.URLError as error:
            raise DataError(f"cannot be reached ({error.reason})") from None
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            raise DataError(f"broke off ({error or type(error).__name__})") from None
    if total and done < total:
        raise DataError(f"broke off after {done} of {total} bytes")
    if not content.eof:
        raise DataError(f"broke off after {done} bytes")
    if digest.hexdigest() != sha256:
        raise DataError(f"sent another file: its sha256 is {digest.hexdigest()}, not {sha256}")


class _Bar:
    """Progress on stderr: redrawn on a terminal, a line every few seconds in a log."""

    def __init__(self, name: str, total: int) -> None:
        self._name = name
        self._total = total
        self._terminal = sys.stderr.isatty()
        self._every = 0.1 if self._terminal else 5.0
        self._shown_at = time.monotonic()

    def show(self, done: int) -> None:
        if time.monotonic() - self._shown_at >= self._every:
            self._draw(done, "\r" if self._terminal else "\n")

    def close(self, done: int) -> None:
        self._draw(done, "\n")

    def _draw(self, done: int, end: str) -> None:
        self._shown_at = time.monotonic()
        amount = f"{done / 1e6:.1f} MB"
        if self._total:
            filled = min(20, 20 * done // self._total)
            amount = f"[{'#' * filled:<20}] {amount} of {self._total / 1e6:.1f} MB"
        sys.stderr.write(f"downloading {self._name} {amount}{end}")
        sys.stderr.flush()
