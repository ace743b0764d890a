"""The `traindeck` command. Only typer is imported here: `--help` must be instant."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from importlib import import_module
from typing import Annotated

import typer

from traindeck.core.base.errors import INTERRUPTED, USAGE, TraindeckError

_APP_COLLECTS = gc.get_threshold()
_MODULES = ("recipes", "run", "runs", "control", "budget", "audit", "statement", "owners", "upkeep")
_MODULE_OF = {
    "recipes": "recipes",
    "run": "run",
    "budget": "budget",
    "audit": "audit",
    "verify": "statement",
    **dict.fromkeys(("ls", "show", "metrics", "logs", "watch"), "runs"),
    **dict.fromkeys(("stop", "kill", "rm", "restore", "edit"), "control"),
    **dict.fromkeys(("owners", "approve", "refuse"), "owners"),
    **dict.fromkeys(("devices", "reindex", "doctor"), "upkeep"),
}
"""Where these commands are, so that the others need not be made; one left out works as well."""

app = typer.Typer(
    name="traindeck",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def start(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Launch, watch and find training runs. Without a command: the app.

    Everything is kept in $TRAINDECK_HOME (default ~/.traindeck).
    """
    if version:
        from traindeck import __version__

        typer.echo(f"traindeck {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            typer.echo(
                "error: the app needs a terminal; `traindeck --help` lists commands", err=True
            )
            raise typer.Exit(USAGE)
        from traindeck.core.base.home import Home
        from traindeck.tui.app import TraindeckApp

        gc.set_threshold(*_APP_COLLECTS)
        TraindeckApp(Home.default()).run()


def _register(word: str) -> None:
    """Make the command of this name; all of them when it is not known, for the help."""
    for name in (_MODULE_OF[word],) if word in _MODULE_OF else _MODULES:
        import_module(f"traindeck.tui.commands.{name}").register(app)


def main() -> None:
    """Run the command line; what people can mend is told in one line, never as a traceback."""
    _mend_streams()
    gc.set_threshold(1_000_000)  # ten thousand documents have no cycles: a fifth of `ls`
    words = sys.argv[1:]
    if words:
        _register(words[0])
    command: list[str] | None = None
    if words[:1] == ["run"] and "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    if words:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends us as it ends others
    try:
        try:
            app(words, obj=command)
        finally:
            sys.stdout.flush()  # what cannot be written is told here, not by the interpreter
    except TraindeckError as error:
        from traindeck.tui.commands.output import say_error

        sys.exit(say_error(error))
    except OSError as error:
        from traindeck.tui.commands.output import say_error

        code = say_error(error)
        _drop_unwritten()
        sys.exit(code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _mend_streams() -> None:
    """Whatever terminal, encoding or shell we get, no output of ours may end in a traceback.

    A closed stream would have its number taken by the next file that is opened, and whatever is
    started would write into that: it becomes /dev/null.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # stderr escapes what it cannot encode by itself
        sys.stdout.reconfigure(errors="replace")


def _drop_unwritten() -> None:
    """What could not be written is not tried again while the interpreter ends."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
