"""Where MNIST is looked for, and how it is downloaded: from a real server on this machine."""

from __future__ import annotations

import gzip
import hashlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.training.idxfiles import NAMES, contents, write
from traindeck.core.base.home import Home
from traindeck.recipes.shared.training.data import mnist
from traindeck.recipes.shared.training.data.fetch import fetch
from traindeck.recipes.shared.training.data.idx import DataError

NOWHERE = ("http://127.0.0.1:9",)  # the discard port: nobody listens


@dataclass
class Mirror:
    """A web server of gzip files that can misbehave."""

    files: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    cut: int | None = None  # bytes really sent of the length that was promised
    stall: bool = False  # stop sending halfway and keep the line open
    url: str = ""


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    mirror = Mirror({f"/{name}.gz": gzip.compress(data) for name, data in contents().items()})
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            mirror.asked.append(self.path)
            body = mirror.files.get(self.path)
            if body is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if mirror.stall:
                self.wfile.write(body[: len(body) // 2])
                self.wfile.flush()
                over.wait()
                return
            self.wfile.write(body[: mirror.cut])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    mirror.url = f"http://127.0.0.1:{server.server_port}"
    yield mirror
    over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def checksums(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expect the small data set of these tests in place of the real one."""
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in contents().items()}
    monkeypatch.setattr(mnist, "SHA256", sums)


@pytest.fixture
def cache(home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("TRAINDECK_DATA", raising=False)
    return home.cache / "mnist"


def trouble(*args: object, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        mnist.load(*args, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestPlaces:
    def test_the_folder_given_comes_first(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRAINDECK_DATA", str(write(tmp_path / "root" / "mnist").parent))
        given = write(tmp_path / "given", contents(7))
        assert len(mnist.load(str(given), NOWHERE).train_x) == 7
        assert len(mnist.load(None, NOWHERE).train_x) == 40

    def test_then_the_data_folder_then_the_cache(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(cache, contents(8), zipped=True)
        assert len(mnist.load(None, NOWHERE).train_x) == 8
        monkeypatch.setenv("TRAINDECK_DATA", str(tmp_path))
        assert len(mnist.load(None, NOWHERE).train_x) == 8
        write(tmp_path / "mnist", contents(9))
        assert len(mnist.load(None, NOWHERE).train_x) == 9

    def test_a_folder_given_is_not_replaced_by_another_place(
        self, tmp_path: Path, cache: Path
    ) -> None:
        write(cache)
        gone = tmp_path / "gone"
        assert (
            trouble(str(gone)) == f"{gone}: no such folder; --data-dir names a folder of IDX files"
        )
        assert trouble(str(tmp_path)).startswith(f"{tmp_path}: no train-images-idx3-ubyte and no ")

    def test_a_damaged_cache_says_how_to_mend_it(self, cache: Path) -> None:
        write(cache, contents() | {NAMES[1]: b"\0\0\x08\x01\0\0\0\x09"})
        message = trouble(None, NOWHERE)
        assert message.startswith(f"{cache / NAMES[1]}: its header says 9 = 9 bytes")
        assert message.endswith("Delete it to have it downloaded again")

    def test_nothing_anywhere_names_every_place_and_what_to_do(
        self, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        message = trouble(None, NOWHERE)
        assert "--data-dir (not given), $TRAINDECK_DATA (not set)" in message
        assert f"{cache} and could not download it (http://127.0.0.1:9/{NAMES[0]}.gz:" in message
        assert "Connection refused" in message
        assert f"Put its four IDX files into {cache}, or pass the folder" in message
        monkeypatch.setenv("TRAINDECK_DATA", str(tmp_path))
        assert f"{tmp_path / 'mnist'} ($TRAINDECK_DATA)" in trouble(None, NOWHERE)


@pytest.mark.usefixtures("checksums")
class TestDownload:
    def test_what_is_missing_is_downloaded_once(
        self, mirror: Mirror, cache: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        assert len(mnist.load(None, (mirror.url,)).train_x) == 40
        assert sorted(path.name for path in cache.iterdir()) == sorted(f"{n}.gz" for n in NAMES)
        assert len(mnist.load(None, NOWHERE).train_x) == 40
        assert len(mirror.asked) == 4
        printed = capfd.readouterr()
        assert printed.out == ""
        assert "downloading train-images-idx3-ubyte [####################]" in printed.err

        (cache / f"{NAMES[2]}.gz").unlink()
        assert len(mnist.load(None, (mirror.url,)).train_x) == 40
        assert mirror.asked[4:] == [f"/{NAMES[2]}.gz"]

    def test_the_cache_is_private(
        self, mirror: Mirror, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = tmp_path / "another"
        monkeypatch.setenv("TRAINDECK_HOME", str(home))
        mnist.load(None, (mirror.url,))
        assert [path.stat().st_mode & 0o777 for path in (home, home / "cache")] == [0o700, 0o700]

    def test_the_next_mirror_steps_in(self, mirror: Mirror, cache: Path) -> None:
        bad = mirror.url + "/no-such-folder"
        assert len(mnist.load(None, (*NOWHERE, bad, mirror.url)).train_x) == 40

    def test_another_file_is_refused(self, mirror: Mirror, cache: Path) -> None:
        mirror.files[f"/{NAMES[0]}.gz"] = gzip.compress(b"another file")
        message = trouble(None, (mirror.url,))
        assert f"{mirror.url}/{NAMES[0]}.gz: sent another file: its sha256 is " in message
        assert not any(cache.iterdir())

    def test_a_page_in_place_of_the_file(self, mirror: Mirror, cache: Path) -> None:
        mirror.files[f"/{NAMES[0]}.gz"] = b"<html>Please log in to this network</html>"
        assert ".gz: is not gzip data" in trouble(None, (mirror.url,))

    def test_a_missing_file(self, mirror: Mirror, cache: Path) -> None:
        assert ".gz: answered 404 Not Found" in trouble(None, (mirror.url + "/other",))

    def test_a_transfer_cut_short(self, mirror: Mirror, cache: Path) -> None:
        mirror.cut = 300
        size = len(mirror.files[f"/{NAMES[0]}.gz"])
        assert f".gz: broke off after 300 of {size} bytes" in trouble(None, (mirror.url,))
        assert not any(cache.iterdir())

    def test_a_mirror_that_falls_silent(self, mirror: Mirror, cache: Path) -> None:
        mirror.stall = True
        began = time.monotonic()
        assert ".gz: broke off (timed out)" in trouble(None, (mirror.url,), timeout=0.3)
        assert time.monotonic() - began < 20

    def test_a_folder_that_cannot_be_written(self, mirror: Mirror, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(DataError, match=r"t10k\.gz: cannot be written: Not a directory"):
            fetch("t10k.gz", "", (mirror.url,), tmp_path / "file" / "cache")
