"""Parties that compute together on shares: MPyC between the approved jobs of several owners.

    outcome = mpc.run(
        compute, owner=here.owner, owners=here.owners, sent=here.sent, **here.params["parties"]
    )

`compute(party)` is a coroutine that all owners' jobs run, and `party.mpc` is MPyC's runtime (B.
Schoenmakers, https://github.com/lschoe/mpyc): Shamir's secret sharing over a prime field, for
semi-honest parties, of whom fewer than half may put together what they saw and still learn nothing.
So it takes three: of two, the threshold is 0 and a share *is* the value.

What this module does otherwise than MPyC does alone:
- Parties listen on loopback only. MPyC's own start listens on all addresses of the machine.
- Links are TLS 1.3, both ways, with one certificate made for the run and told to its members alone.
  It keeps others out and what is exchanged unread; it does not tell one member from another, who
  are all taken to follow the protocol. Without a certificate shares cross in the clear.
- What comes from others is never unpickled, as MPyC would: numbers have a plain form, `Numbers`.
- Whatever is waited for has a limit, and who did not come, or left, is named.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import importlib
import os
import socket
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")

HOST = "127.0.0.1"
FEWEST = 3  # with an honest majority of which one may be curious
SECURITY = 40  # bits: masks differ from uniform ones by at most 2^-40
RETRY_SECONDS = 0.1
TELL_SECONDS = 0.25  # between words of what was sent
_LOST = "ended before the computation was over"


class PartyError(RuntimeError):
    """The computation cannot go on; the text names who is the reason."""


def free_ports(count: int) -> list[int]:
    """TCP ports of loopback that are free now, and most likely still are when jobs start."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def credentials(days: int = 7) -> dict[str, str]:
    """A certificate and its key (PEM) for the members of one run; the key is a secret of theirs.

    They are made when a federation is set up, and told to the owners with whom to trust; no job's
    parameters hold them. They do not open recorded traffic (TLS 1.3 agrees on other keys, and
    forgets them). Who has the key, as whoever set the federation up, could step between two parties
    by not following the protocol, and read their shares.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "traindeck run")])
    now = datetime.datetime.now(datetime.UTC)
    day = datetime.timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)  # clocks differ
        .not_valid_after(now + days * day)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = certificate.public_bytes(serialization.Encoding.PEM)
    return {"certificate": public.decode(), "key": secret.decode()}


def context(tls: dict[str, str] | None, *, server: bool) -> ssl.SSLContext | None:
    """For one end of a link between members of a run; None without TLS."""
    if tls is None:
        return None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # there is one certificate to trust, whatever name it bears
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=tls["certificate"])
    # OpenSSL reads keys from files alone: one of this job's own, 0600, for this moment.
    descriptor, name = tempfile.mkstemp(prefix="tls-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(tls["certificate"] + tls["key"])
        made.load_cert_chain(name)
    finally:
        os.unlink(name)
    return made


class Numbers:
    """What MPyC marshals with pickle, in a plain form: an integer, or a row of them.

    It stands in the place of the module `pickle` in MPyC's runtime. One byte says which; of a row
    two more (little-endian) say how many bytes an element has. Elements are signed, little-endian.
    """

    @staticmethod
    def dumps(thing: Any) -> bytes:
        """Raises TypeError for anything but integers."""
        if isinstance(thing, int):
            return b"i" + thing.to_bytes(thing.bit_length() // 8 + 1, "little", signed=True)
        if not isinstance(thing, np.ndarray) or thing.ndim != 1:
            raise TypeError(f"{type(thing).__name__} is not sent to other parties")
        values = [int(value) for value in thing]
        width = max((value.bit_length() for value in values), default=0) // 8 + 1
        rows = (value.to_bytes(width, "little", signed=True) for value in values)
        return b"a" + width.to_bytes(2, "little") + b"".join(rows)

    @staticmethod
    def loads(data: bytes) -> Any:
        """Raises ValueError for what `dumps` cannot have written."""
        if data[:1] == b"i":
            return int.from_bytes(data[1:], "little", signed=True)
        width = int.from_bytes(data[1:3], "little")
        if data[:1] != b"a" or not width or (len(data) - 3) % width:
            raise ValueError("another party sent what is no numbers")
        values = [
            int.from_bytes(data[at : at + width], "little", signed=True)
            for at in range(3, len(data), width)
        ]
        return np.fromiter(values, object, count=len(values))


@dataclass
class Party:
    """This owner's part in a computation.

    mpc    MPyC's runtime, started
    index  of this party in owners, from 0
    sent   told of bytes of shares that have left, see `JobSession.sent`
    """

    mpc: Any
    index: int
    owners: list[str]
    sent: Callable[[int], None] | None = None
    _reported: int = 0  # bytes, by `sent`
    _sent: dict[str, int] = field(default_factory=dict)  # over links that have ended
    _came: set[int] = field(default_factory=set)
    _phase: str = "connecting"
    _failed: asyncio.Future[None] | None = None

    @property
    def bytes_sent(self) -> dict[str, int]:
        """Bytes of shares to each other party so far, before TLS adds its own."""
        live = {
            self.owners[peer.pid]: peer.protocol.nbytes_sent
            for peer in self.mpc.parties
            if peer.pid != self.index and peer.protocol is not None
        }
        return {**self._sent, **live}

    def tell(self) -> None:
        """Say what has been sent since this was said last."""
        now = sum(self.bytes_sent.values())
        if self.sent and now > self._reported:
            with contextlib.suppress(OSError):  # nobody listens any more
                self.sent(now - self._reported)
            self._reported = now

    async def keep_telling(self) -> None:
        while True:
            self.tell()
            await asyncio.sleep(TELL_SECONDS)

    def _ended(self, link: Any) -> None:
        """A link has ended: as agreed, or because the other side has."""
        if link.peer_pid is None:  # it never said who it was
            return
        name = self.owners[link.peer_pid]
        self._sent[name] = link.nbytes_sent
        if self._phase == "closing":
            self.mpc.unset_protocol(link.peer_pid)
        elif self._phase == "connecting":  # who never came is told of first
            self.mpc.parties[link.peer_pid].protocol = None
        elif self._failed is not None and not self._failed.done():
            self._failed.set_exception(PartyError(f"{name} {_LOST}"))

    async def connect(self, tls: dict[str, str] | None, patience: float) -> None:
        """Link up with all others. Raises PartyError naming who has not come in so many seconds."""
        mpc, loop = self.mpc, asyncio.get_running_loop()
        link = _link(self)
        for peer in mpc.parties:
            peer.protocol = loop.create_future() if peer.pid == self.index else None
        everyone = mpc.parties[self.index].protocol
        server = None
        if self.index:  # those before us come to us
            server = await loop.create_server(
                lambda: link(mpc), HOST, mpc.parties[self.index].port, ssl=context(tls, server=True)
            )
        client = context(tls, server=False)

        async def reach(peer: Any) -> None:
            while True:  # and again, when what answered was not there to stay
                if peer.protocol is None:
                    with contextlib.suppress(OSError):
                        await loop.create_connection(
                            lambda: link(mpc, peer.pid), peer.host, peer.port, ssl=client
                        )
                await asyncio.sleep(RETRY_SECONDS)

        tasks = [loop.create_task(reach(peer)) for peer in mpc.parties[self.index + 1 :]]
        try:
            await asyncio.wait_for(everyone, patience)
        except TimeoutError:
            others = {peer.pid for peer in mpc.parties} - {self.index}
            if absent := sorted(others - self._came):
                names = " and ".join(self.owners[index] for index in absent)
                raise PartyError(f"{names} did not come within {patience:g} s") from None
            left = [self.owners[pid] for pid in others if mpc.parties[pid].protocol is None]
            raise PartyError(f"{' and '.join(left)} {_LOST}") from None
        finally:
            for task in tasks:
                task.cancel()
            if server is not None:
                server.close()
        self._phase = "computing"

    async def leave(self) -> None:
        """Wait until all others have what they need of us, and part."""
        self._phase = "closing"
        self.mpc.start_time = 0.0  # only for what MPyC would log
        await self.mpc.shutdown()


def _link(party: Party) -> Any:
    """MPyC's end of a link to another party, that tells `party` what becomes of it."""
    exchanger: Any = importlib.import_module("mpyc.asyncoro").MessageExchanger

    class Link(exchanger):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            if self.peer_pid is not None:
                party._came.add(self.peer_pid)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.peer_pid is not None:
                party._came.add(self.peer_pid)

        def connection_lost(self, exc: Exception | None) -> None:
            party._ended(self)

    return Link


def _runtime(index: int, ports: Sequence[int]) -> Any:
    """MPyC's runtime for one party. MPyC reads the command line when imported: not ours."""
    words = [word for port in ports for word in ("-P", f"{HOST}:{port}")]
    words.append("--no-uvloop")  # it would take that where it is installed, and we have a loop
    argv, sys.argv = sys.argv, ["job", "--no-log", "-I", str(index), "-K", str(SECURITY), *words]
    try:
        runtime: Any = importlib.import_module("mpyc.runtime")
        if not hasattr(runtime, "pickle"):
            raise PartyError("this MPyC marshals otherwise than release 0.11, which was looked at")
        runtime.pickle = Numbers
        sys.argv = ["job", "--no-log", "-I", str(index), "-K", str(SECURITY), *words]
        return runtime.setup()
    finally:
        sys.argv = argv


def run(
    compute: Callable[[Party], Coroutine[Any, Any, T]],
    *,
    owner: str,
    owners: Sequence[str],
    ports: Sequence[int],
    tls: dict[str, str] | None,
    sent: Callable[[int], None] | None = None,
    patience: float = 60.0,
    limit: float = 3600.0,
) -> T:
    """Be party `owner` in a computation of all owners; what `compute` returns.

    ports     of loopback, one an owner, in their order
    tls       see `credentials`; None: shares cross loopback unencrypted
    sent      told now and then of how many more bytes of shares have left, as MPyC counts them
    patience  seconds to wait for the other parties to come; limit: for all of it

    Raises PartyError naming who is the reason.
    """
    if len(owners) < FEWEST or len(ports) != len(owners):
        raise PartyError(
            f"{len(owners)} parties with {len(ports)} ports: an honest majority needs {FEWEST}"
        )
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)  # before MPyC looks for one
    party = None
    try:
        index = list(owners).index(owner)
        party = Party(_runtime(index, ports), index, list(owners), sent)
        return loop.run_until_complete(_take_part(party, compute, tls, patience, limit))
    except RuntimeError as error:
        if isinstance(error, PartyError):
            raise
        # MPyC stops the loop when one of its own steps has failed, and has said why.
        raise PartyError(f"the computation has failed at {owner}: {error}") from error
    finally:
        if party is not None:
            party.tell()
        asyncio.set_event_loop(None)
        # Not closed: what MPyC still has scheduled would complain. The job ends here.


async def _take_part(
    party: Party,
    compute: Callable[[Party], Awaitable[T]],
    tls: dict[str, str] | None,
    patience: float,
    limit: float,
) -> T:
    party._failed = asyncio.get_running_loop().create_future()

    async def whole() -> T:
        await party.connect(tls, patience)
        outcome = await compute(party)
        await party.leave()
        return outcome

    task = asyncio.ensure_future(whole())
    telling = asyncio.ensure_future(party.keep_telling())
    first: set[asyncio.Future[Any]] = {task, party._failed}
    await asyncio.wait(first, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
    telling.cancel()
    if task.done():
        return task.result()
    task.cancel()
    if party._failed.done():
        party._failed.result()
    raise PartyError(f"the computation was not over within {limit:g} s")
