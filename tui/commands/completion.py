"""`traindeck completion`: what makes a shell complete commands, and the manual page."""

from __future__ import annotations

import textwrap
from typing import Annotated, Any

import typer

from traindeck.core.base.errors import UsageError
from traindeck.tui.commands.contents import COMMANDS

SHELLS = ("bash", "zsh", "fish")

BASH = """\
_traindeck() {
    local IFS=$'\\n' word before=0 i line=()
    COMPREPLY=()
    # Bash splits words at = and : and replaces the last piece alone.
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if ((i > 1)) && [[ $word == [=:]* || ${COMP_WORDS[i - 1]} == [=:]* ]]; then
            line[${#line[@]} - 1]+=$word
        else
            line+=("$word")
        fi
    done
    if ((${#line[@]})); then
        before=${line[${#line[@]} - 1]}
        [[ $word == [=:]* ]] || before=${before%"$word"}
        before=${#before}
    fi
    while read -r word; do word=${word%%$'\\t'*}; COMPREPLY+=("${word:before}"); done \\
        < <(traindeck completion words -- "${line[@]}" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace
}
complete -o default -F _traindeck traindeck
"""

ZSH = """\
#compdef traindeck
_traindeck() {
    local -a found
    local line word what
    while IFS=$'\\t' read -r word what; do
        found+=("${word//:/\\\\:}${what:+:$what}")
    done < <(traindeck completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe -V 'traindeck' found
    else
        _files
    fi
}
compdef _traindeck traindeck
"""

FISH = """\
function __traindeck
    set -l words (commandline -opc)[2..-1] (commandline -ct)
    traindeck completion words -- $words 2>/dev/null
end
complete -c traindeck -a '(__traindeck)'
"""

HOW = {
    "bash": 'eval "$(traindeck completion bash)" in ~/.bashrc',
    "zsh": 'eval "$(traindeck completion zsh)" in ~/.zshrc, after compinit',
    "fish": "traindeck completion fish > ~/.config/fish/completions/traindeck.fish",
}


def register(app: typer.Typer) -> None:
    app.command("completion")(completion)


def completion(
    what: Annotated[str, typer.Argument(help="bash, zsh, fish, or man.", metavar="SHELL")],
    words: Annotated[
        list[str] | None, typer.Argument(help="After `words`: a half-typed line.", hidden=True)
    ] = None,
) -> None:
    """Print what makes a shell complete, or the man page.

    In ~/.bashrc: eval "$(traindeck completion bash)"; in ~/.zshrc, after compinit, the same with
    zsh; for fish, traindeck completion fish > ~/.config/fish/completions/traindeck.fish. The page:
    traindeck completion man > ~/.local/share/man/man1/traindeck.1
    """
    if what == "words":
        from traindeck.core.base.home import Home
        from traindeck.core.base.sanitize import plain
        from traindeck.tui.commands.completing import choices

        for word, meaning in choices(Home.default(), words or [""]):
            if word.isprintable():
                print(word, plain(meaning), sep="\t")
    elif what == "man":
        print(page(), end="")
    elif what in SHELLS:
        print({"bash": BASH, "zsh": ZSH, "fish": FISH}[what], end="")
    else:
        raise UsageError(f"{what!r} is no shell I know; take {', '.join(SHELLS)} or man")


def page() -> str:
    """The manual page, in roff, from what the commands say of themselves."""
    from traindeck import __version__
    from traindeck.tui.commands.completing import every

    lines = [
        f'.TH TRAINDECK 1 "" "traindeck {__version__}" "User commands"',
        ".SH NAME",
        "traindeck \\- launch, watch and find training runs",
        ".SH SYNOPSIS",
        ".B traindeck",
        "[\\fICOMMAND\\fR [\\fIARGUMENT\\fR…]]",
        ".SH DESCRIPTION",
        "Without a command: the app. Everything is kept in $TRAINDECK_HOME (default ~/.traindeck).",
        ".SH COMMANDS",
    ]

    def tell(name: str, command: Any) -> None:
        arguments = [each for each in command.params if each.param_type_name == "argument"]
        shown = " ".join(
            _roff(str(each.metavar or each.name.upper()))
            for each in arguments
            if not getattr(each, "hidden", False)
        )
        head = f".B {_roff(name)}" if not shown else f'.BI "{_roff(name)} " "{shown}"'
        lines.extend([".TP", head, _roff(textwrap.dedent(command.help or _summary(name)).strip())])
        options = [each for each in command.params if each.param_type_name == "option"]
        if options:
            lines.append(".RS")
        for each in options:
            if each.name != "help":
                named = ", ".join(_roff(opt) for opt in each.opts)
                value = (
                    "" if each.is_flag else f" \\fI{_roff(each.metavar or each.name.upper())}\\fR"
                )
                lines.extend([".TP", f"\\fB{named}\\fR{value}", _roff(each.help or " ")])
        if options:
            lines.append(".RE")

    every(tell)
    lines += [
        ".SH EXIT STATUS",
        "0 done; 1 the run, or what was asked, failed; 2 usage; 3 not found; 4 hardware or a"
        " dependency missing; 5 refused by a privacy budget; 130 interrupted.",
        ".SH FILES",
        ".TP",
        "~/.traindeck/settings.toml",
        "theme, refresh, columns, keys and notices.",
    ]
    return "\n".join(lines) + "\n"


def _summary(name: str) -> str:
    return COMMANDS[name][1] if name in COMMANDS else name


def _roff(text: str) -> str:
    """The text as roff takes it: no backslash, leading point or hyphen means anything else."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").split("\n")
    joined = "\n".join(line.strip() for line in lines).replace("\n\n", "\n.br\n")
    return "\n".join(
        f"\\&{line}" if line.startswith(("'", ".")) and line != ".br" else line
        for line in joined.split("\n")
    )
