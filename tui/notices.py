"""Telling of notices: a toast, the bell, the terminal's title, its desktop, a command, a webhook.

    [notices]
    toast = true             # on the screen
    title = true             # of the terminal: how many runs go on, and the newest notice
    bell = ["failed", "hand"]
    desktop = "auto"         # osc9, osc777, auto (by the terminal), or false
    command = "notify-send"  # is given title and text; TRAINDECK_NOTICE has all of it as JSON
    webhook = "https://…"    # is sent the JSON by one POST; slack://…, mailto://…: by Apprise
    every = 10               # least seconds between two by the same way
    low = 0.1                # share of a budget from which on it runs low

`toast`, `bell`, `desktop`, `command` and `webhook` also take a list of kinds, of ended, failed,
hand, budget; for a command or webhook that is `command_for`, `webhook_for`.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, Protocol

from traindeck.core.base.sanitize import plain
from traindeck.tui.readers.notices import FAILED, HAND, KINDS, LOW, Limit, Notice, running_low

WAIT_SECONDS = 20.0
_ALL = frozenset(KINDS)
_BELL = frozenset({FAILED, HAND})
_POSTED = ("http://", "https://")
_OSC9 = ("iTerm.app", "WezTerm", "ghostty", "WarpTerminal")


@dataclass(frozen=True, slots=True)
class NoticeSettings:
    """Which kinds are told by which way; see the head of this file."""

    toast: frozenset[str] = _ALL
    title: bool = True
    bell: frozenset[str] = _BELL
    desktop: str = "auto"
    desktop_for: frozenset[str] = _ALL
    command: str = ""
    command_for: frozenset[str] = _ALL
    webhook: str = ""
    webhook_for: frozenset[str] = _ALL
    every: float = 10.0
    low: float = 0.1

    @classmethod
    def read(cls, table: Mapping[str, object], file: str) -> tuple[NoticeSettings, list[str]]:
        """The usable part of the table [notices], and sentences about the rest."""
        known: dict[str, Any] = {}
        problems: list[str] = []
        for name, value in table.items():
            try:
                known[name] = _checked(name, value)
            except ValueError as error:
                problems.append(f"{file}: notices: {error}")
        return cls(**known), problems


def _checked(name: str, value: object) -> Any:
    if name in ("toast", "bell", "desktop_for", "command_for", "webhook_for"):
        if isinstance(value, bool):
            return _ALL if value else frozenset()
        if isinstance(value, list) and set(value) <= _ALL:
            return frozenset(value)
        raise ValueError(f"{name} is true, false or a list of {', '.join(KINDS)}, not {value!r}")
    if name == "title":
        if isinstance(value, bool):
            return value
        raise ValueError(f"title is true or false, not {value!r}")
    if name == "desktop":
        if value in ("auto", "osc9", "osc777"):
            return value
        if value is False:
            return ""
        raise ValueError(f'desktop is "auto", "osc9", "osc777" or false, not {value!r}')
    if name == "command":
        if isinstance(value, str) and _is_command(value):
            return value
        raise ValueError(f"command is a command line in quotes, not {value!r}")
    if name == "webhook":
        if not (isinstance(value, str) and "://" in value.strip()):
            raise ValueError(f"webhook is an address, https://… or one of Apprise, not {value!r}")
        if not value.startswith(_POSTED) and find_spec("apprise") is None:
            scheme = value.partition("://")[0]
            raise ValueError(f"a webhook of {scheme}:// needs pip install 'traindeck[notices]'")
        return value
    if name in ("every", "low"):
        if type(value) in (int, float) and 0 <= value <= (86_400 if name == "every" else 1):  # type: ignore[operator]
            return float(value)  # type: ignore[arg-type]
        raise ValueError(f"{name} is a number of seconds or a share, not {value!r}")
    raise ValueError(f"there is no {name!r}: only {', '.join(NoticeSettings.__dataclass_fields__)}")


def _is_command(line: str) -> bool:
    try:
        return bool(shlex.split(line))
    except ValueError:
        return False


def desktop_sequence(notice: Notice, way: str, environment: Mapping[str, str]) -> str:
    """What a terminal makes a desktop notification of; empty where it is not known to."""
    if way == "auto":
        program = environment.get("TERM_PROGRAM", "")
        term = environment.get("TERM", "")
        if program in _OSC9 or "kitty" in term or "ghostty" in term:
            way = "osc9"
        elif term.startswith(("foot", "rxvt")) or "VTE_VERSION" in environment:
            way = "osc777"
    title, text = plain(notice.title), plain(notice.text)
    if way == "osc9":
        return _through_tmux(f"\x1b]9;{title}{': ' if text else ''}{text}\x1b\\", environment)
    if way == "osc777":
        parts = title.replace(";", ","), text.replace(";", ",")
        return _through_tmux(f"\x1b]777;notify;{parts[0]};{parts[1]}\x1b\\", environment)
    return ""


def _through_tmux(sequence: str, environment: Mapping[str, str]) -> str:
    if "TMUX" not in environment:
        return sequence
    doubled = sequence.replace("\x1b", "\x1b\x1b")
    return f"\x1bPtmux;{doubled}\x1b\\"


def title_sequence(live: int, notice: Notice | None) -> str:
    """The terminal's title: how many runs go on, and what was last told."""
    words = [f"traindeck · {live} running" if live else "traindeck"]
    if notice is not None:
        words.append(plain(notice.title))
    return f"\x1b]2;{' · '.join(words)}\x1b\\"


def run_command(line: str, notice: Notice) -> None:
    """Runs the user's command. Raises OSError or subprocess.SubprocessError when it fails."""
    subprocess.run(
        [*shlex.split(line), notice.title, notice.text],
        env={**os.environ, "TRAINDECK_NOTICE": json.dumps(notice.to_json())},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=WAIT_SECONDS,
        check=True,
    )


def post(address: str, notice: Notice) -> None:
    """Sends a notice as JSON, or by Apprise. Raises OSError when nobody takes it."""
    if not address.startswith(_POSTED):
        _apprise(address, notice)
        return
    import urllib.request  # slow to load, and few have a webhook

    request = urllib.request.Request(
        address,
        json.dumps(notice.to_json()).encode(),
        {"Content-Type": "application/json", "User-Agent": "traindeck"},
    )
    with urllib.request.urlopen(request, timeout=WAIT_SECONDS):
        pass


def _apprise(address: str, notice: Notice) -> None:
    said = subprocess.run(
        [sys.executable, "-P", "-m", "traindeck.tui.apprised"],
        input=json.dumps({"url": address, "title": notice.title, "text": notice.text}),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    if said.returncode:
        reason = (said.stderr.strip() or "it says no reason").splitlines()[-1]
        raise OSError(reason.replace(address, "its address"))


class Teller(Protocol):
    """What the app is to a notifier; `host.Host` is one."""

    def notify(
        self,
        message: str,
        *,
        title: str = ...,
        severity: Literal["information", "warning", "error"] = ...,
        markup: bool = ...,
    ) -> None: ...

    def bell(self) -> None: ...

    def in_background(self, what: str, action: Callable[[], object]) -> None: ...


class Notifier:
    """Tells each notice by the ways that the settings give its kind, each at its own rate."""

    def __init__(
        self, host: Teller, settings: NoticeSettings, write: Callable[[str], object]
    ) -> None:
        self._host, self._settings, self._write = host, settings, write
        ways = ("toast", "bell", "desktop", "command", "webhook")
        self._limits = {way: Limit(settings.every) for way in ways}
        self._told_low: dict[str, float] = {}
        self._title = ""
        self._newest: Notice | None = None

    def tell(self, notice: Notice) -> None:
        """Tells it now, by every way that is not held back."""
        settings = self._settings
        self._newest = notice
        if notice.kind in settings.toast and (told := self._let("toast", notice)):
            bad = notice.kind in (FAILED, LOW)
            self._host.notify(
                told.text,
                title=told.title,
                severity="warning" if bad else "information",
                markup=False,
            )
        if notice.kind in settings.bell and self._let("bell", notice):
            self._host.bell()
        if notice.kind in settings.desktop_for and settings.desktop:
            told = self._let("desktop", notice)
            sequence = told and desktop_sequence(told, settings.desktop, os.environ)
            if sequence:
                self._write(sequence)
        if settings.command and notice.kind in settings.command_for:
            self._send("command", notice, lambda told: run_command(settings.command, told))
        if settings.webhook and notice.kind in settings.webhook_for:
            self._send("webhook", notice, lambda told: post(settings.webhook, told))

    def _send(self, way: str, notice: Notice, action: Callable[[Notice], None]) -> None:
        told = self._let(way, notice)
        if told is not None:
            what = f"The {way} of the notices did not work"
            self._host.in_background(what, lambda: action(told))

    def _let(self, way: str, notice: Notice) -> Notice | None:
        """The notice, with a word of those that were held back before it; None: it is held back."""
        limit = self._limits[way]
        if not limit.allows():
            return None
        held = limit.take_held()
        if not held:
            return notice
        more = f"and {held} more before" if held > 1 else "and another before"
        text = f"{notice.text}; {more}" if notice.text else more
        return Notice(notice.kind, notice.title, text, notice.runs)

    def show_title(self, live: int) -> None:
        """Brings the terminal's title up to date, if it would say something else."""
        title = title_sequence(live, self._newest) if self._settings.title else ""
        if title and title != self._title:
            self._title = title
            self._write(title)

    def restore_title(self) -> None:
        if self._title:
            self._write("\x1b]2;\x1b\\")

    def budget(self, name: str, left: float) -> None:
        """A share of a budget that is left; told once it runs low, and again at each halving."""
        notice = running_low(name, left, self._settings.low)
        if notice is None:
            self._told_low.pop(name, None)
        elif left <= self._told_low.get(name, 1.0) / 2:
            self._told_low[name] = max(left, 1e-9)
            self.tell(notice)
