"""A supervisor that cannot be started is told with what is lacking."""

from __future__ import annotations

import errno
import os
import subprocess

import pytest

from traindeck.core.engines.boot import Boot


def test_no_process_left_is_told_as_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(subprocess, "Popen", none)
    with pytest.raises(OSError, match="no further process can be started") as failed:
        Boot()
    assert failed.value.errno == errno.EAGAIN
