"""The `traindeck` command. Only typer is imported here: `--help` must be instant."""

from __future__ import annotations

import gc
import io
import os
import signal
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
import typer.core

from traindeck.core.base.environ import HOME
from traindeck.core.base.errors import FAILED, INTERRUPTED, USAGE, TraindeckError
from traindeck.tui.commands.contents import COMMANDS

_APP_COLLECTS = gc.get_threshold()


class Commands(typer.core.TyperGroup):
    """Lists commands in its help that were not made; tells what an interruption leaves."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            for note in getattr(interrupt, "__notes__", ()):
                typer.echo(f"\n{note}", err=True)
            raise

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


_Misused: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)

app = typer.Typer(
    name="traindeck",
    cls=Commands,
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
    _say_whose()
    if context.invoked_subcommand is None:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            typer.echo(
                "error: the app needs a terminal; `traindeck --help` lists commands", err=True
            )
            raise typer.Exit(USAGE)
        from traindeck.core.base.home import Home
        from traindeck.tui.app import TraindeckApp
        from traindeck.tui.widgets.graphics import of_terminal

        gc.set_threshold(*_APP_COLLECTS)
        TraindeckApp(Home.default(), graphics=of_terminal()).run()


def _say_whose() -> None:
    """A home of another user is one only if it is named, and then it is told."""
    if HOME not in os.environ:
        return
    from traindeck.core.base.home import Home

    home = Home.default()
    if owner := home.owner():
        from traindeck.tui.commands.output import say

        say(f"note: {home.root}, named by {HOME}, belongs to {owner}; what is made there is yours")


def _register(words: list[str]) -> None:
    """Make the command that is called; all of them where none goes by the name, to suggest one."""
    name = next((word for word in words if not word.startswith("-")), None)
    if name is None:
        return
    modules = (COMMANDS[name][0],) if name in COMMANDS else {each for each, _ in COMMANDS.values()}
    for module in modules:
        import_module(f"traindeck.tui.commands.{module}").register(app)


def main() -> None:
    """Run the command line; what people can mend is told in one line, never as a traceback."""
    _mend_streams()
    if os.getpid() == 1:
        from traindeck.tui.init import become_init

        become_init()
    gc.set_threshold(1_000_000)  # ten thousand documents have no cycles: a fifth of `ls`
    words = sys.argv[1:]
    _register(words)
    command: list[str] | None = None
    if words[:1] in (["run"], ["sweep"]) and "--" in words:
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    if words:
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends us as it ends others
    code: object = None
    try:
        try:
            code = app(words, obj=command, standalone_mode=False)
        finally:
            sys.stdout.flush()  # what cannot be written is told here, not by the interpreter
    except _Misused as error:
        sys.exit(_say_misused(error))
    except typer.Abort as error:
        typer.echo("Aborted!", err=True)
        sys.exit(INTERRUPTED if isinstance(error.__context__, KeyboardInterrupt) else FAILED)
    except TraindeckError as error:
        from traindeck.tui.commands.output import say_error

        sys.exit(say_error(error))
    except OSError as error:
        from traindeck.tui.commands.output import say_error

        failed = say_error(error)
        _drop_unwritten()
        sys.exit(failed)
    sys.exit(code if isinstance(code, int) else 0)


def _say_misused(error: Exception) -> int:
    """What typer has to say of the words that were typed, which may hold anything."""
    from traindeck.tui.commands.output import say

    said = io.StringIO()
    error.show(said)  # type: ignore[attr-defined]
    say(said.getvalue().removesuffix("\n").replace("Error: ", "error: ", 1))
    return getattr(error, "exit_code", USAGE)


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
