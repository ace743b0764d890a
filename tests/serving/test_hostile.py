"""What no client should send, over bare sockets: each gets an error, and the server lives."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator

import grpc
import pytest

from tests.serving.serving_tools import ask, pictures, serving
from traindeck.recipes.shared.deploy.serving import http
from traindeck.recipes.shared.deploy.serving.limits import Limits
from traindeck.recipes.shared.deploy.serving.server import Serving
from traindeck.recipes.shared.deploy.serving.store import Model

BODY = json.dumps({"instances": [[[1, 2, 3, 4]] * 4]}).encode()


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server that waits for half a second, and takes 4 KiB over 8 connections."""
    base = tmp_path_factory.mktemp("strict")
    pictures(base / "m/1")
    limits = Limits(body=4096, seconds=0.5, connections=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "HEAD_SECONDS", 0.5)
        with serving(base, Model("m", base / "m"), limits=limits) as one:
            yield one


def said(port: int, *parts: bytes, pause: float = 0.0, shut: bool = False) -> tuple[int, str]:
    """Send the parts, a pause between them; the status and error that come back."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as wire:
        for part in parts:
            try:
                wire.sendall(part)
            except OSError:  # it has been refused already
                break
            time.sleep(pause)
        if shut:
            wire.shutdown(socket.SHUT_WR)
        got = b""
        try:
            while piece := wire.recv(65536):
                got += piece
                head, found, body = got.partition(b"\r\n\r\n")
                if found and len(body) >= _length(head):
                    break
        except ConnectionResetError:
            pass
    head, _, body = got.partition(b"\r\n\r\n")
    if not head:
        return 0, ""
    return int(head.split()[1]), json.loads(body)["error"]


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))


def post(body: bytes, length: int | None = None, extra: bytes = b"") -> bytes:
    size = len(body) if length is None else length
    head = f"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n"
    return head.encode() + extra + b"\r\n" + body


@pytest.fixture(autouse=True)
def it_lives(strict: Serving) -> Iterator[None]:
    yield
    assert ask(strict.port, "POST", "/v1/models/m:predict", BODY)[0] == 200


def test_what_is_no_http(strict: Serving) -> None:
    assert said(strict.port, b"\x16\x03\x01\x00\xff nonsense\r\n\r\n") == (
        400,
        "this is no HTTP request",
    )


def test_what_is_no_grpc(strict: Serving) -> None:
    for data in (
        b"GET / HTTP/1.1\r\n\r\n",
        bytes(1000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff" * 9,
    ):
        with socket.create_connection(("127.0.0.1", strict.grpc_port), timeout=20) as wire:
            wire.sendall(data)
    with grpc.insecure_channel(f"127.0.0.1:{strict.grpc_port}") as channel:
        live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        assert live(b"", timeout=20) == b"\x08\x01"


def test_a_huge_body_is_refused_before_it_is_sent(strict: Serving) -> None:
    assert said(strict.port, post(b"", 1 << 40)) == (413, "a request has at most 4096 bytes")


def test_a_huge_body_in_chunks_is_cut_short(strict: Serving) -> None:
    head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"3e8\r\n" + b" " * 1000 + b"\r\n"
    assert said(strict.port, head, *[chunk] * 10)[0] == 413


def test_a_packed_body_that_unpacks_to_too_much(strict: Serving) -> None:
    bomb = gzip.compress(b" " * 100_000)
    assert said(strict.port, post(bomb, extra=b"Content-Encoding: gzip\r\n"))[0] == 413


def test_a_body_that_never_ends(strict: Serving) -> None:
    began = time.monotonic()
    status, words = said(strict.port, post(BODY[:20], len(BODY)))
    assert (status, words) == (408, "the request was not whole within 0.5 seconds")
    assert time.monotonic() - began < 10


def test_a_body_that_comes_a_byte_at_a_time(strict: Serving) -> None:
    head, body = post(b"", len(BODY)), BODY
    status, _ = said(strict.port, head, *[body[i : i + 1] for i in range(20)], pause=0.06)
    assert status == 408


def test_a_head_that_never_ends(strict: Serving) -> None:
    assert said(strict.port, b"POST /v1/models/m:predict HTTP/1.1\r\nHost:") == (
        408,
        "no request came within 0.5 seconds",
    )
    assert said(strict.port, b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 20, pause=0.06)[0] == 408


def test_a_connection_that_says_nothing(strict: Serving) -> None:
    assert said(strict.port)[0] == 408


def test_a_head_without_measure(strict: Serving) -> None:
    line = b"X-Filler: " + b"y" * 1000 + b"\r\n"
    status, words = said(strict.port, b"GET / HTTP/1.1\r\nHost: x\r\n", *[line] * 100)
    assert (status, words) == (431, "the head of a request has at most 65536 bytes")


def test_a_body_that_is_torn_off(strict: Serving) -> None:
    with socket.create_connection(("127.0.0.1", strict.port)) as wire:
        wire.sendall(post(BODY[:10], len(BODY)))


def test_lengths_that_contradict_each_other(strict: Serving) -> None:
    twice = b"Content-Length: 3\r\n"
    assert said(strict.port, post(BODY, extra=twice))[0] == 400
    assert said(strict.port, post(BODY, extra=b"Transfer-Encoding: chunked\r\n"))[0] == 400
    assert said(strict.port, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n")[0] == 400


def test_more_connections_than_are_taken(strict: Serving) -> None:
    held = [socket.create_connection(("127.0.0.1", strict.port)) for _ in range(8)]
    try:
        deadline = time.monotonic() + 20
        status = 0
        while status != 503 and time.monotonic() < deadline:
            status, words = said(strict.port, post(BODY))
        assert words == "8 connections are open already: try again later"
    finally:
        for wire in held:
            wire.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if ask(strict.port, "GET", "/healthz")[0] == 200:
                return
        except OSError:
            pass
    raise AssertionError("it does not take connections any more")


def test_two_requests_in_one_breath_are_answered_in_order(strict: Serving) -> None:
    with socket.create_connection(("127.0.0.1", strict.port), timeout=20) as wire:
        wire.sendall(post(BODY) + post(b"{") + post(BODY))
        got = b""
        while got.count(b"HTTP/1.1 ") < 3 or not got.endswith(b"}"):
            got += wire.recv(65536)
    assert [part[:3] for part in got.split(b"HTTP/1.1 ")[1:]] == [b"200", b"400", b"200"]


def test_names_that_try_to_leave_the_folder(strict: Serving) -> None:
    for path in (b"/v1/models/..%2f..%2fetc:predict", b"/v2/models/../../etc/infer", b"/v1/%ff"):
        request = b"POST " + path + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
        assert said(strict.port, request)[0] in (400, 404)
