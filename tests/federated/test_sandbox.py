"""An approved script reaches its data and its folder, and nothing else of the machine."""

from __future__ import annotations

import errno
import platform
import socket
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.federated.sandboxed import BY_C, IN_SESSION, run
from traindeck.recipes.shared.federated.job import sandbox

confined = pytest.mark.skipif(not sandbox.version(), reason="this kernel has no Landlock")
network = pytest.mark.skipif(sandbox.version() < 4, reason="this kernel confines no TCP")


def test_a_script_has_its_data_its_folder_and_no_more_of_its_owner(tmp_path: Path) -> None:
    script = """
    import os, sys
    def try_it(here):
        open("tmp/made", "w").write("mine")
        found = sorted(int(n) for n in os.listdir("/proc/self/fd"))
        return {
            "x": here.data()["x"].tolist(), "owner": here.owner,
            "environment": sorted(os.environ), "home": os.environ["HOME"],
            "descriptors": [n for n in found if os.path.exists(f"/proc/self/fd/{n}")],
            "argv": sys.argv, "cwd": os.getcwd(), "leader": os.getsid(0) == os.getpid(),
        }
    """
    [ran] = run(tmp_path, textwrap.dedent(script) + IN_SESSION)
    assert ran.exit == 0, ran.errors
    result = ran.result
    assert result["x"] == [0, 1, 2] and result["owner"] == "owner-1"
    assert result["home"] == result["cwd"] == str(ran.folder)
    assert result["argv"] == [str(ran.folder / "main.py")] and result["leader"]
    assert "A_SECRET" not in result["environment"]
    assert {"HOME", "TMPDIR"} <= set(result["environment"])
    assert len(result["descriptors"]) <= 4  # its three streams and its end of the socket pair
    assert (ran.folder / "tmp" / "made").read_text() == "mine"
    for log in (".stdout", ".stderr"):
        assert stat.S_IMODE((ran.folder / log).stat().st_mode) == 0o600


@confined
def test_nothing_else_can_be_reached_even_by_c(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    script = BY_C + textwrap.dedent(
        f"""
        secret, made = {str(secret)!r}.encode(), {str(tmp_path / "made")!r}.encode()
        def try_it(here):
            own = os.getcwd().encode()
            return {{
                "open": call("open", secret, os.O_RDONLY),
                "create": call("open", made, os.O_WRONLY | os.O_CREAT, 0o600),
                "folder": call("open", {str(tmp_path)!r}.encode(), os.O_RDONLY | os.O_DIRECTORY),
                "unlink": call("unlink", secret),
                "rename": call("rename", secret, own + b"/tmp/stolen"),
                "link": call("link", secret, own + b"/tmp/linked"),
                "truncate": call("truncate", secret, 0),
                "script": call("open", own + b"/main.py", os.O_WRONLY),
                "data": call("open", {str(tmp_path / "data.npz")!r}.encode(), os.O_WRONLY),
                "parent": call("open", f"/proc/{{os.getppid()}}/environ".encode(), os.O_RDONLY),
                "memory": call("open", f"/proc/{{os.getppid()}}/mem".encode(), os.O_RDONLY),
                "root": call("open", b"/root", os.O_RDONLY),
                "passwords": call("open", b"/etc/shadow", os.O_RDONLY),
                "through a link": (os.symlink(secret, "tmp/way"),
                                   call("open", own + b"/tmp/way", os.O_RDONLY))[1],
                "a child": os.waitstatus_to_exitcode(
                    os.system(f"cat {{secret.decode()}} > tmp/stolen 2> tmp/said")),
            }}
        """
    )
    [ran] = run(tmp_path, script + IN_SESSION)
    assert ran.exit == 0, ran.errors
    assert {what for what, error in ran.result.items() if not error} == set()
    assert secret.read_text() == "another's" and not (tmp_path / "made").exists()
    assert (ran.folder / "tmp" / "stolen").read_text() == ""
    assert ran.confined["words"].startswith("Landlock ")


@pytest.mark.skipif(
    platform.machine() not in ("x86_64", "aarch64"), reason="no filter of system calls here"
)
def test_whose_a_file_is_and_who_may_read_it_cannot_be_changed(tmp_path: Path) -> None:
    """Of no file, by no call: a mode that another gave to a ledger would open it to all."""
    secret = tmp_path / "secret"
    script = BY_C + textwrap.dedent(
        f"""
        secret = {str(secret)!r}.encode()
        here_, no, none = ctypes.c_int(-100), ctypes.c_int(-1), ctypes.c_void_p(None)
        def try_it(here):
            open("tmp/own", "w").write("mine")
            own = os.open("tmp/own", os.O_RDWR)
            libc.syscall.restype = ctypes.c_long
            told = {{}}
            for what, path in (("secret", secret), ("folder", os.path.dirname(secret)),
                               ("own", b"tmp/own")):
                told |= {{
                    f"{{what}}: chmod": call("chmod", path, 0o666),
                    f"{{what}}: fchmodat": call("fchmodat", here_, path, 0o666, 0),
                    f"{{what}}: fchmodat2": call("syscall", 452, here_, path, 0o666, 0),
                    f"{{what}}: chown": call("chown", path, no, no),
                    f"{{what}}: lchown": call("lchown", path, no, no),
                    f"{{what}}: fchownat": call("fchownat", here_, path, no, no, 0),
                    f"{{what}}: utime": call("utime", path, none),
                    f"{{what}}: utimes": call("utimes", path, none),
                    f"{{what}}: utimensat": call("utimensat", here_, path, none, 0),
                    f"{{what}}: setxattr": call("setxattr", path, b"user.a", b"b", 1, 0),
                    f"{{what}}: lsetxattr": call("lsetxattr", path, b"user.a", b"b", 1, 0),
                    f"{{what}}: removexattr": call("removexattr", path, b"user.a"),
                    f"{{what}}: lremovexattr": call("lremovexattr", path, b"user.a"),
                    f"{{what}}: setxattrat": call("syscall", 463, here_, path, 0, b"user.a"),
                    f"{{what}}: file_setattr": call("syscall", 469, here_, path, none, 0, 0),
                }}
            return told | {{
                "fchmod": call("fchmod", own, 0o666),
                "fchown": call("fchown", own, no, no),
                "futimens": call("futimens", own, none),
                "fsetxattr": call("fsetxattr", own, b"user.a", b"b", 1, 0),
                "fremovexattr": call("fremovexattr", own, b"user.a"),
                "a child": os.waitstatus_to_exitcode(
                    os.system("chmod 666 tmp/own 2> tmp/said")) and 1,
            }}
        """
    )
    [ran] = run(tmp_path, script + IN_SESSION)
    assert ran.exit == 0, ran.errors
    assert {what: error for what, error in ran.result.items() if error != errno.EPERM} == {}


def test_a_script_may_do_with_its_own_files_what_scripts_do(tmp_path: Path) -> None:
    script = """
    import os, shutil, tempfile
    from pathlib import Path
    import numpy as np
    def try_it(here):
        with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile() as file:
            file.write(b"mine")
            file.flush()
            np.savez(Path(folder) / "rows.npz", x=np.arange(4))
            shutil.copyfile(Path(folder) / "rows.npz", "tmp/copy.npz")
        os.makedirs("tmp/a/b", mode=0o700)
        os.close(os.open("tmp/a/c", os.O_WRONLY | os.O_CREAT, 0o600))
        shutil.move("tmp/a/c", "tmp/a/b/c")
        shutil.rmtree("tmp/a")
        os.truncate("tmp/copy.npz", os.path.getsize("tmp/copy.npz"))
        with np.load("tmp/copy.npz") as rows:
            return {"x": rows["x"].tolist(), "left": sorted(os.listdir("tmp"))}
    """
    [ran] = run(tmp_path, textwrap.dedent(script) + IN_SESSION)
    assert ran.exit == 0, ran.errors
    assert ran.result == {"x": [0, 1, 2, 3], "left": ["copy.npz"]}


def test_python_that_opens_something_else_is_ended_and_said(tmp_path: Path) -> None:
    secret = str(tmp_path / "secret")
    [read, write, quiet] = run(
        tmp_path,
        f"from traindeck.recipes.shared.federated.job import job\nopen({secret!r})",
        f"import os\nos.open({secret!r}, os.O_WRONLY)",
        f"try:\n    open({secret!r})\nexcept Exception:\n    pass\nopen('tmp/went on', 'w')",
    )
    for ran in (read, write, quiet):
        assert ran.exit == 77
        assert ran.heard == [{"type": "outside", "path": secret}]
    assert not (quiet.folder / "tmp" / "went on").exists()


@network
def test_only_the_ports_that_were_given_can_be_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as spare:
        spare.bind(("127.0.0.1", 0))
        ours, free = server.getsockname()[1], spare.getsockname()[1]
        spare.close()
        script = textwrap.dedent(
            f"""
            import socket
            def attempt(action):
                try:
                    action()
                except OSError as error:
                    return error.errno
                return 0
            def try_it(here):
                made = lambda *kind: attempt(lambda: socket.socket(*kind).close())
                socket.socketpair()[0].close()
                return {{
                    "datagrams": made(socket.AF_INET, socket.SOCK_DGRAM),
                    "programs": made(socket.AF_UNIX),
                    "other streams": made(socket.AF_INET, socket.SOCK_STREAM, 262),
                    "connect": attempt(lambda: socket.create_connection(("127.0.0.1", {ours}), 2)),
                    "listen": attempt(lambda: socket.create_server(("127.0.0.1", {free}))),
                }}
            """
        )
        [without] = run(tmp_path / "a", script + IN_SESSION)
        [given] = run(tmp_path / "b", script + IN_SESSION, ports=(ours, free))
    others = dict.fromkeys(("datagrams", "programs", "other streams"), 13)
    if platform.machine() not in ("x86_64", "aarch64"):
        others = {what: without.result[what] for what in others}
    assert without.result == {"connect": 13, "listen": 13, **others}
    assert given.result == {"connect": 0, "listen": 0, **others}


def test_without_landlock_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python's watch is then all there is; tried in a process of its own, for it is for good."""
    script = textwrap.dedent(
        f"""
        from pathlib import Path
        from traindeck.recipes.shared.federated.job import sandbox
        sandbox.version = lambda: 0
        seen = []
        report, _ = sandbox.confine([Path("/usr")], [Path({str(tmp_path)!r})], [], seen.append)
        print(report.words())
        open("/etc/hostname").close()
        open({str(tmp_path / "mine")!r}, "w").close()
        open("/usr/../usr/bin/env").close()
        print(seen)
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    said, seen = done.stdout.splitlines()
    assert said.startswith("no sandbox: this kernel has no Landlock")
    assert seen == "['/etc/hostname']"
