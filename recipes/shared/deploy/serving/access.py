"""Who may ask: everybody on this machine; beyond it, who has a token or a certificate."""

from __future__ import annotations

import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from traindeck.core.base.errors import NotFoundError, UsageError
from traindeck.core.base.files import read_bounded, write_atomic

TOKEN_FILE = "token"
_LEAST_TOKEN = 16
_MOST_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM. With `client_ca`, clients must show a certificate of its own."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True)
class Secured:
    """The token that is asked for (empty: none), where it is kept, and TLS."""

    token: str
    token_file: str
    tls: Tls | None


def secured(p: SimpleNamespace, folder: Path) -> Secured:
    """What the parameters ask for; a token is made and kept in `folder` where one is needed.

    Raises UsageError, NotFoundError, OSError.
    """
    tls = _tls(p)
    if p.token_file:
        path = Path(p.token_file).expanduser()
        return Secured(_token(path), str(path.absolute()), tls)
    if is_loopback(p.host) or (tls and tls.client_ca):
        return Secured("", "", tls)
    path = folder / TOKEN_FILE
    if not path.exists():
        write_atomic(path, secrets.token_urlsafe(32).encode() + b"\n")  # mode 0600
    return Secured(_token(path), str(path.absolute()), tls)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it. Raises UsageError for what is no address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UsageError(f"host: {host!r} is no IP address; 0.0.0.0 stands for all") from None


def _tls(p: SimpleNamespace) -> Tls | None:
    given = {"certificate": p.certificate, "key": p.key, "client_ca": p.client_ca}
    paths = {name: Path(path).expanduser() for name, path in given.items() if path}
    if not paths:
        return None
    if not {"certificate", "key"} <= paths.keys():
        raise UsageError("TLS takes both --certificate and --key")
    for name, path in paths.items():
        if not path.is_file():
            raise NotFoundError(f"{name}: there is no file {path}")
    return Tls(paths["certificate"], paths["key"], paths.get("client_ca"))


def _token(path: Path) -> str:
    try:
        token = read_bounded(path, _MOST_BYTES, follow=True).decode().split("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f"the token file {path} cannot be read: {error}") from None
    if len(token) < _LEAST_TOKEN or not token.isascii() or " " in token:
        raise UsageError(
            f"{path}: a token is one line of {_LEAST_TOKEN} ASCII characters or more, without space"
        )
    return token
