"""Letters between an owner and the data scientist: each is read once, by whom it was sealed for."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from traindeck.recipes.shared.federated.post import mail
from traindeck.recipes.shared.federated.post.mail import BadLetter, Mailbox, address


class Seal:
    """Stands in for syft's: whom it is from and for, and a checksum of a kind."""

    def __init__(self, name: str) -> None:
        self.name = name

    def seal(self, to: str, data: bytes) -> bytes:
        return f"{address(self.name)}>{to}>{sum(data)}>".encode() + data

    def unseal(self, sender: str, data: bytes) -> bytes:
        head, _, rest = data.partition(b">")
        to, _, rest = rest.partition(b">")
        check, _, plain = rest.partition(b">")
        if (head, to) != (sender.encode(), address(self.name).encode()):
            raise ValueError("not for us")
        if int(check) != sum(plain):
            raise ValueError("it was changed")
        return plain


def box(root: Path, name: str, session: str = "s", **how: bool) -> Mailbox:
    return Mailbox(root, name, Seal(name), session, **how)


@pytest.fixture
def owner(tmp_path: Path) -> Mailbox:
    return box(tmp_path, "owner-1")


@pytest.fixture
def scientist(tmp_path: Path) -> Mailbox:
    return box(tmp_path, "scientist")


def only(folder: Path) -> Path:
    [path] = folder.iterdir()
    return path


def test_letters_come_whole_and_in_their_order(owner: Mailbox, scientist: Mailbox) -> None:
    for number in range(12):
        scientist.send("owner-1", {"type": "round", "number": number}, bytes([number]) * number)
    for number in range(12):
        letter = owner.next()
        assert letter is not None
        assert letter.sender == "scientist" and letter.type == "round"
        assert letter.facts == {"type": "round", "number": number}
        assert letter.body == bytes([number]) * number
    assert owner.next() is None


def test_it_is_waited_for_as_long_as_said(owner: Mailbox) -> None:
    began = time.monotonic()
    assert owner.next(0.05) is None
    assert time.monotonic() - began >= 0.05


def test_only_what_is_counted_as_leaving_is_counted(tmp_path: Path) -> None:
    left = []
    sender = Mailbox(tmp_path, "owner-1", Seal("owner-1"), "s", left=lambda *a: left.append(a))
    sender.send("scientist", {"type": "update"}, bytes(100), kind="masked")
    sender.send("scientist", {"type": "ended"}, kind="metadata")
    sizes = [path.stat().st_size for path in sorted((tmp_path / "scientist").iterdir())]
    assert left == [("masked", sizes[0]), ("metadata", sizes[1])]


def test_letters_are_kept_only_if_asked(tmp_path: Path) -> None:
    for keep in (False, True):
        root = tmp_path / str(keep)
        sender, reader = box(root, "owner-1"), box(root, "scientist", keep=keep)
        sender.send("scientist", {"type": "update"})
        whole = only(root / "scientist").read_bytes()
        assert reader.next() and not list((root / "scientist").iterdir())
        if keep:
            kept = only(root / "kept")
            assert kept.name == "scientist-0000000001-owner-1" and kept.read_bytes() == whole


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("flipped", "it is not as scientist sealed it"),
        ("cut", "it is not as scientist sealed it"),
        ("empty", "it is not as scientist sealed it"),
        ("unsealed", "it is not as scientist sealed it"),
        ("another's", "it is not as owner-2 sealed it"),
        ("nobody's", "its file has no letter's name"),
    ],
)
def test_what_is_no_letter_is_refused_and_gone(
    what: str, why: str, owner: Mailbox, scientist: Mailbox, tmp_path: Path
) -> None:
    scientist.send("owner-1", {"type": "round"}, b"the model")
    path = only(tmp_path / "owner-1")
    whole = path.read_bytes()
    if what == "flipped":
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    elif what == "cut":
        path.write_bytes(whole[: len(whole) // 2])
    elif what == "empty":
        path.write_bytes(b"")
    elif what == "unsealed":
        path.write_bytes(json.dumps({"type": "round"}).encode())
    elif what == "another's":
        path.rename(path.with_name("0000000001-owner-2"))
    else:
        path.rename(path.with_name("letter"))
    scientist.send("owner-1", {"type": "end"})
    said = []
    for _ in range(2):
        try:
            letter = owner.next()
        except BadLetter as error:
            said.append(str(error))
    assert len(said) == 1 and why in said[0]
    assert letter is not None and letter.type == "end", "a good one that follows is read"
    assert owner.next() is None


@pytest.mark.parametrize(
    "kind", ["link to endless zeros", "link to nothing", "pipe", "folder", "link to a folder"]
)
def test_what_is_no_file_neither_stops_nor_misleads(
    kind: str, owner: Mailbox, scientist: Mailbox, tmp_path: Path
) -> None:
    path = tmp_path / "owner-1" / "0000000000-scientist"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    match kind:
        case "link to endless zeros":
            path.symlink_to("/dev/zero")
        case "link to nothing":
            path.symlink_to("nothing")
        case "link to a folder":
            path.symlink_to(tmp_path / "elsewhere")
        case "pipe":
            os.mkfifo(path)
        case "folder":
            path.mkdir()
            (path / "inside").touch()
    scientist.send("owner-1", {"type": "round"})
    with pytest.raises(BadLetter, match="it is no letter"):
        owner.next()
    assert (tmp_path / "elsewhere" / "kept").exists()
    letter = owner.next()
    assert letter is not None and letter.type == "round"


def test_a_letter_that_is_too_large_is_refused(
    owner: Mailbox, scientist: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "MOST", 1000)
    scientist.send("owner-1", {"type": "round"}, bytes(1000))
    with pytest.raises(BadLetter, match="of 1000 at most"):
        owner.next()


def test_a_letter_shown_again_is_refused(
    owner: Mailbox, scientist: Mailbox, tmp_path: Path
) -> None:
    scientist.send("owner-1", {"type": "round", "number": 1})
    path = only(tmp_path / "owner-1")
    first = path.read_bytes()
    assert owner.next()
    for name in (path.name, "0000009999-scientist"):
        (tmp_path / "owner-1" / name).write_bytes(first)
        with pytest.raises(BadLetter, match="number 1 came before: it is shown again"):
            owner.next()
    scientist.send("owner-1", {"type": "round", "number": 2})
    letter = owner.next()
    assert letter is not None and letter.facts["number"] == 2


def test_a_letter_of_another_session_or_for_another_is_refused(
    owner: Mailbox, tmp_path: Path
) -> None:
    before = box(tmp_path, "scientist", session="before")
    before.send("owner-1", {"type": "round"})
    with pytest.raises(BadLetter, match="it belongs to another session"):
        owner.next()

    class Lax(Seal):
        """A seal that does not tell for whom it is."""

        def unseal(self, sender: str, data: bytes) -> bytes:
            return data.split(b">", 3)[3]

    lax = Mailbox(tmp_path, "owner-1", Lax("owner-1"), "s")
    box(tmp_path, "scientist").send("owner-2", {"type": "round"})
    path = only(tmp_path / "owner-2")
    path.rename(tmp_path / "owner-1" / path.name)
    with pytest.raises(BadLetter, match="it was sealed by or for somebody else"):
        lax.next()


@pytest.mark.parametrize("facts", [b"[]", b"{}", b"3", b'{"_": {}}', b'{"_": 3}', b"[" * 100_000])
def test_a_sealed_letter_without_a_head_is_refused(
    facts: bytes, owner: Mailbox, tmp_path: Path
) -> None:
    head = len(facts).to_bytes(8, "little") + facts
    (tmp_path / "owner-1" / "0000000001-scientist").write_bytes(
        Seal("scientist").seal(address("owner-1"), head)
    )
    with pytest.raises(BadLetter):
        owner.next()


def test_a_full_folder_is_an_error_and_leaves_nothing(
    owner: Mailbox, scientist: Mailbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space left"):
            scientist.send("owner-1", {"type": "round"})
    assert list((tmp_path / "owner-1").iterdir()) == []
    scientist.send("owner-1", {"type": "round", "number": 2})
    letter = owner.next()
    assert letter is not None and letter.facts["number"] == 2


def test_clocks_do_not_matter(
    owner: Mailbox, scientist: Mailbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for at in (9e9, 0.0, -1e9):
        monkeypatch.setattr(time, "time", lambda at=at: at)
        scientist.send("owner-1", {"type": "round"})
        assert owner.next(0.01) and owner.next(0.01) is None
