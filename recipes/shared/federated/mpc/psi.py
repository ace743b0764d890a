"""Which records two owners have in common, and nothing else about the others: PSI.

Private set intersection by elliptic-curve Diffie-Hellman (C. Meadows, A More Efficient
Cryptographic Matchmaking Protocol, IEEE S&P 1986), as OpenMined's PSI library does it, exact: its
data structure `RAW`, without the false positives of its Bloom filters. Each id is hashed to a
point of the curve and blinded by one owner's secret key, then by the other's; only points that
both have blinded can be compared. No id, and no hash of one that could be guessed, crosses.

What it reveals, to these two alone: which of its own ids the other one has as well. How many the
other has in all is hidden up to the agreed bound by ids made up for each run. An owner that lies
about its ids learns whether the other has the ones that it made up: owners are taken to follow the
protocol. Each owner asks once and is asked once, as only who asks learns the intersection.
"""

from __future__ import annotations

import contextlib
import importlib
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from traindeck.recipes.shared.federated.mpc.party import HOST, RETRY_SECONDS, PartyError, context
from traindeck.recipes.shared.federated.post import wire

MADE_UP = "\0made up "  # no id begins so
HANDSHAKE_SECONDS = 10.0  # that TLS may take
_NEVER = 1e-12  # chance of a false positive: has no meaning for RAW, must be given


@dataclass
class Link:
    """A link between two owners' jobs; `other` is who is at its far end.

    sent: told of the bytes of what has left, before frames and TLS add theirs, see
    `JobSession.sent`
    """

    socket: socket.socket
    other: str
    sent: Callable[[int], None] | None = None
    bytes_sent: int = 0

    def send(self, kind: str, *bodies: bytes) -> None:
        """Raises PartyError when the other has gone."""
        for body in bodies:
            try:
                wire.send(self.socket, {"type": kind}, body)
            except (wire.Closed, TimeoutError) as error:
                raise PartyError(f"{self.other} ended before all was said: {error}") from None
            self.bytes_sent += len(body)
            if self.sent:
                self.sent(len(body))

    def receive(self, kind: str) -> bytes:
        """Raises PartyError when the other has gone, is silent, or says something else."""
        try:
            facts, body = wire.receive(self.socket)
        except TimeoutError:
            raise PartyError(
                f"{self.other} was silent for {self.socket.gettimeout():g} s"
            ) from None
        except (wire.Closed, wire.BadFrame) as error:
            raise PartyError(f"{self.other} ended before all was said: {error}") from None
        if facts.get("type") != kind:
            raise PartyError(f"{self.other} said {facts.get('type')!r} where {kind!r} was due")
        return body


def link(
    other: str,
    port: int,
    *,
    listen: bool,
    tls: dict[str, str] | None,
    patience: float,
    sent: Callable[[int], None] | None = None,
) -> Link:
    """Meet another owner's job on a port of loopback; one of the two listens.

    tls: see `party.credentials`; patience: seconds to wait, for it to come and for each answer;
    sent: see `Link`.
    Raises PartyError when it does not come.
    """
    until = time.monotonic() + patience
    secured = context(tls, server=listen)
    why = f"{other} did not come within {patience:g} s"
    with _listening(port) if listen else contextlib.nullcontext() as server:
        while (left := until - time.monotonic()) > 0:
            met = _reach(port, until) if server is None else _accept(server, left)
            if met is None:
                break
            met.settimeout(min(left, HANDSHAKE_SECONDS))
            try:
                if secured is not None:
                    met = secured.wrap_socket(met, server_side=listen)
            except OSError as error:  # somebody else of this machine: who is meant may come yet
                met.close()
                why = f"{other} is no member of this run: {error}"
                time.sleep(RETRY_SECONDS)
                continue
            met.settimeout(patience)
            return Link(met, other, sent)
    raise PartyError(why)


def _listening(port: int) -> socket.socket:
    return socket.create_server((HOST, port), backlog=8)


def _accept(server: socket.socket, seconds: float) -> socket.socket | None:
    server.settimeout(seconds)
    try:
        return server.accept()[0]
    except TimeoutError:
        return None


def _reach(port: int, until: float) -> socket.socket | None:
    while (left := until - time.monotonic()) > 0:
        try:
            return socket.create_connection((HOST, port), left)
        except OSError:
            time.sleep(RETRY_SECONDS)
    return None


def intersect(link: Link, ids: Sequence[str], bound: int, *, first: bool) -> list[int]:
    """Indices of the ids that the other owner has as well, in the order of the sorted ids.

    So both get the same records in the same order. bound: no owner has more; first: of the two,
    which begins. Raises ValueError for ids that are doubled or more than the bound, PartyError
    when the other does not keep to the protocol.
    """
    if len(set(ids)) != len(ids) or any(name.startswith(MADE_UP) for name in ids):
        raise ValueError("ids must differ from each other")
    if len(ids) > bound:
        raise ValueError(f"{len(ids)} ids are more than the {bound} that were agreed")
    psi: Any = importlib.import_module("private_set_intersection.python")
    filled = [*ids, *(MADE_UP + secrets.token_hex(16) for _ in range(bound - len(ids)))]
    secrets.SystemRandom().shuffle(filled)  # the library answers in the order it is asked in

    server, client = psi.server.CreateWithNewKey(True), psi.client.CreateWithNewKey(True)
    offer = server.CreateSetupMessage(_NEVER, bound, filled, psi.DataStructure.RAW)
    request = client.CreateRequest(filled)
    own = (offer.SerializeToString(), request.SerializeToString())

    def tell() -> None:
        link.send("ids", *own)

    def hear() -> tuple[Any, Any]:
        bodies = link.receive("ids"), link.receive("ids")
        return _parsed(psi.ServerSetup, bodies[0], link), _parsed(psi.Request, bodies[1], link)

    if first:
        tell()
    theirs, asked = hear()
    if not first:
        tell()
    if (asked_for := len(asked.encrypted_elements)) > bound:
        raise PartyError(f"{link.other} asks for {asked_for} ids, of {bound} at the most")
    try:
        answer = server.ProcessRequest(asked).SerializeToString()
    except (RuntimeError, ValueError) as error:
        raise PartyError(f"{link.other} sent what is no request: {error}") from None
    if first:
        link.send("answer", answer)
    answered = _parsed(psi.Response, link.receive("answer"), link)
    if not first:
        link.send("answer", answer)
    try:
        common = client.GetIntersection(theirs, answered)
    except (RuntimeError, ValueError) as error:
        raise PartyError(f"{link.other} sent what is no answer: {error}") from None
    at = {name: index for index, name in enumerate(ids)}
    return [at[name] for name in sorted(filled[index] for index in common)]


def _parsed(message: Any, body: bytes, link: Link) -> Any:
    parsed = message()
    try:
        parsed.ParseFromString(body)
    except Exception as error:  # protobuf has a class of its own, elsewhere in each release
        raise PartyError(f"{link.other} sent what cannot be read: {error}") from None
    return parsed
