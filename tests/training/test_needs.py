"""What is heard while a framework is loaded."""

from __future__ import annotations

import subprocess
import sys

SAID = (
    "WARNING: All log messages before absl::InitializeLog() is called are written to STDERR",
    "I0000 00:00:1795643641.889215   20801 port.cc:153] oneDNN custom operations are on.",
    "E0000 00:00:1795643641.889215   20801 dso.cc:9] libcudnn.so: no such file",
    "The library was compiled to use AVX instructions, but these are not available",
)


def heard(name: str, end: str) -> list[str]:
    said = "".join(f"{line}\n" for line in SAID).encode()
    code = (
        "import os\nfrom traindeck.recipes.shared.training import needs\n"
        f"with needs.framework({name!r}):\n    os.write(2, {said!r})\n    {end}\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    return [line for line in done.stderr.splitlines() if line in SAID]


def test_tensorflow_s_chatter_is_left_out_and_nothing_else() -> None:
    assert heard("tensorflow", "pass") == [*SAID[2:]]
    assert heard("torch", "pass") == [*SAID]


def test_what_a_crash_says_last_is_heard() -> None:
    assert heard("tensorflow", "os.abort()") == [*SAID[2:]]
