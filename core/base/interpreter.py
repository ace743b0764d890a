"""What a Python interpreter is: its version, where it looks for packages, which markers hold."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

WAIT_SECONDS = 20
# For any Python 3. Whatever lies in the working folder is not imported.
_ASK = """import sys
paths = [path for path in sys.path if path]
sys.path[:] = paths
import json, os, platform
v = sys.implementation.version
full = "%d.%d.%d" % v[:3] + ("" if v[3] == "final" else v[3][0] + str(v[4]))
print(json.dumps([sys.version, paths, {
    "implementation_name": sys.implementation.name,
    "implementation_version": full,
    "os_name": os.name,
    "platform_machine": platform.machine(),
    "platform_release": platform.release(),
    "platform_system": platform.system(),
    "platform_version": platform.version(),
    "python_full_version": platform.python_version(),
    "platform_python_implementation": platform.python_implementation(),
    "python_version": ".".join(platform.python_version_tuple()[:2]),
    "sys_platform": sys.platform,
}]))"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """An interpreter, as it says of itself.

    executable  what starts it
    version     its `sys.version`
    paths       its `sys.path`, without the working folder
    markers     its environment markers, by the names of
                packaging.python.org/en/latest/specifications/dependency-specifiers; empty for our
                own, which `packaging` knows
    """

    executable: str
    version: str
    paths: tuple[str, ...]
    markers: Mapping[str, str]

    @property
    def number(self) -> str:
        """Its version alone, such as 3.11.7."""
        return self.markers.get("python_full_version") or platform.python_version()


def ours() -> Interpreter:
    """The one that we run on."""
    return Interpreter(sys.executable, sys.version, tuple(path for path in sys.path if path), {})


def ask(python: str, cwd: str | None = None) -> Interpreter:
    """What another interpreter says, started with our environment in `cwd`.

    Raises OSError when it cannot be started, ValueError when it does not answer within 20 s.
    """
    try:
        done = subprocess.run(
            [python, "-c", _ASK],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=WAIT_SECONDS,
            check=True,
        )
        said = done.stdout.splitlines()
        version, paths, markers = json.loads(said[-1] if said else b"")
    except subprocess.SubprocessError as error:
        raise ValueError(f"{python} does not answer: {error}") from None
    except (ValueError, TypeError):
        raise ValueError(f"{python} does not answer as Python does") from None
    return Interpreter(
        python, version, tuple(os.path.join(cwd or "", path) for path in paths), markers
    )
