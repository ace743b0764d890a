"""What a launch form's recipe needs that is not installed: looked for on a thread."""

from __future__ import annotations

import shlex
import sys
from contextlib import suppress

from textual.css.query import NoMatches

from traindeck.tui.host import Host
from traindeck.tui.widgets.recipe_form import RecipeForm


def look_for_missing(host: Host, form: RecipeForm) -> None:
    """Let a form say what its recipe lacks, and what would mend that."""
    home, recipe = host.home, form.recipe

    def look() -> tuple[str, str]:
        from traindeck.core.base.errors import MissingError
        from traindeck.core.recipe.environments import python
        from traindeck.core.recipe.requirements import lacks

        try:
            lack = lacks(recipe, python(home, recipe))
        except MissingError as error:
            return str(error), ""
        missing = f"not installed: {', '.join(lack.missing)}" if lack.missing else ""
        words = "; ".join(part for part in (lack.wrong, missing) if part)
        mend = lack.mend.removeprefix(f"{shlex.quote(sys.executable)} -m ")
        return (words, mend) if words else ("", "")

    def show(missing: tuple[str, str]) -> None:
        with suppress(NoMatches):  # a form that was taken down meanwhile
            form.show_missing(*missing)

    host.in_background("What is installed cannot be told", look, show)
