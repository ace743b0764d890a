"""`traindeck budget statement`, `show --statement`, `verify`: privacy that a stranger can check."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from traindeck.core.base.errors import FAILED, NotFoundError, UsageError
from traindeck.tui.commands.output import AS_JSON, patience, print_json, say, tell

MOST_BYTES = 64 << 20
OUT = typer.Option(
    "-o", "--out", metavar="FILE", help="Write it there, and the page to read beside it (.md)."
)
Out = Annotated[Path | None, OUT]


def register(app: typer.Typer) -> None:
    app.command()(verify)


def statement(
    name: Annotated[str, typer.Argument(help="A data set that has a budget.")], out: Out = None
) -> None:
    """Make a signed statement of what was spent of a data set's privacy, for others to check."""
    from traindeck.core.base.home import Home
    from traindeck.core.privacy.gate import tend
    from traindeck.core.privacy.ledger.ledgers import named
    from traindeck.core.privacy.statement import claims

    home = Home.default()
    ledger = named(home.ledger, name)
    tend(ledger)
    with patience("accounting for all runs anew …"):
        document = claims.of_budget(home, ledger)
    _give(document, home.root, out)


def of_run(folder: Path, federated: bool, out: Path | None) -> None:
    """The same of one run."""
    from traindeck.core.base.home import Home
    from traindeck.core.privacy.ledger.ledgers import find
    from traindeck.core.privacy.plan import Plan
    from traindeck.core.privacy.statement import claims
    from traindeck.core.run.folder import RunFolder

    home = Home.default()
    plan = Plan.read(folder)
    named = RunFolder(folder).ledger() or (plan.dataset if plan else "")
    ledger = find(home.ledger, named) if named else None
    with patience("accounting for the run anew …"):
        document = claims.of_run(home, folder, ledger, federated)
    _give(document, home.root, out)


def verify(
    file: Annotated[Path, typer.Argument(help="A statement's JSON.")],
    key: Annotated[
        str, typer.Option(help="The fingerprint of the key that must have signed it.")
    ] = "",
    page: Annotated[bool, typer.Option("--page", help="Print it as a page to read.")] = False,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Check a privacy statement: its signature, and each figure by accounting for it anew.

    Exits with 1 when anything is wrong, 2 for a file that is no statement.
    """
    from traindeck.core.base.files import read_bounded
    from traindeck.core.base.home import Home
    from traindeck.core.base.sanitize import WHOLE, plain
    from traindeck.core.privacy.statement.check import check
    from traindeck.core.privacy.statement.page import page as page_of
    from traindeck.core.privacy.statement.signing import opened

    if key and not set(key.lower()) <= set("0123456789abcdef "):
        raise UsageError(f"key: {key!r} is no fingerprint: 32 hexadecimal digits")
    try:
        signed = opened(read_bounded(file, MOST_BYTES, follow=True))
    except FileNotFoundError:
        raise NotFoundError(f"{file}: there is no such file") from None
    with patience("accounting for all of it anew …"):
        lines = list(check(signed, Home.default(), key))
    wrong = [line for line in lines if line.ok is False]
    if page:
        if signed.wrong:
            raise UsageError(f"{file} is not what was signed: {signed.wrong}")
        try:
            tell(page_of(signed.document).removesuffix("\n"))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise UsageError(f"{file} lacks what a page is made of: {error!r}") from None
    elif as_json:
        print_json({"ok": not wrong, "lines": [line.to_json() for line in lines]})
    for line in lines if not (page or as_json) else ():
        word = {True: "OK", False: "wrong", None: "not checked"}[line.ok]
        print(f"{word:<11}  {plain(line.what)}: {plain(line.says, WHOLE)}")
    if wrong:
        say(f"{file}: {len(wrong)} of {len(lines)} lines are wrong")
        raise typer.Exit(FAILED)


def _give(document: dict[str, Any], home_root: Path, out: Path | None) -> None:
    """Sign it, and print it or write it with its page; the fingerprint is said."""
    import sys

    from traindeck.core.base.files import write_atomic
    from traindeck.core.privacy.statement.page import page
    from traindeck.core.privacy.statement.signing import opened, sign

    data = sign(document, home_root)
    signed = opened(data)
    if out is None:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
    else:
        beside = out.with_suffix(".md")
        if beside == out:
            raise UsageError(f"{out}: that is the page's name; the statement is JSON")
        write_atomic(out, data)
        write_atomic(beside, page(signed.document).encode())
        tell(f"{out}, and to read {beside}")
    say(f"signed by key {signed.key}: tell those who check it, by another way than the statement")
