"""Commands on a terminal of a given width."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios

from tests.conftest import COMMAND


def on_terminal(columns: int, *words: str) -> list[str]:
    """The lines a command prints on a terminal of so many columns."""
    main, worker = pty.openpty()
    fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    process = subprocess.Popen([COMMAND, *words], stdout=worker, env=environment)
    os.close(worker)
    data = b""
    while select.select([main], [], [], 60)[0]:
        try:
            block = os.read(main, 1 << 16)
        except OSError:
            break
        if not block:
            break
        data += block
    process.wait()
    os.close(main)
    return data.decode().splitlines()
