"""`traindeck budget forecast`: what a launch, or many, would cost."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from traindeck.core.base.errors import OVER_BUDGET, UsageError
from traindeck.tui.commands.output import AS_JSON, print_json, say


def forecast(
    recipe: Annotated[str, typer.Argument(help="A private recipe.")],
    param: Annotated[
        list[str] | None,
        typer.Option("-p", "--param", metavar="KEY=VALUE", help="A parameter; may be repeated."),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=100_000, help="How many such runs.")] = 1,
    as_json: Annotated[bool, AS_JSON] = False,
) -> None:
    """Say what a launch would cost, what it would leave, and how many more such would fit."""
    from traindeck.core.base.home import Home
    from traindeck.core.privacy import budget
    from traindeck.core.recipe.find import find_recipe
    from traindeck.tui.commands.run import params

    home = Home.default()
    asked = find_recipe(home, recipe)
    found = budget.forecast(home, asked, params(param or []), runs)
    if found is None:
        private = asked.private_choices()
        mend = f"; with {private} it has one" if private else ""
        raise UsageError(f"{recipe} has no privacy accounting: it costs an infinite epsilon{mend}")
    left = found["budget"]
    fits = left is None or left["fits"]
    if as_json:
        print_json(found)
    else:
        _tell(recipe, found, runs)
    if not fits:
        raise typer.Exit(OVER_BUDGET)


def _tell(recipe: str, found: dict[str, Any], runs: int) -> None:
    from traindeck.core.privacy.bounds import at_least, counted, percent
    from traindeck.tui.commands.budget_words import epsilon

    print(
        f"{recipe}: epsilon {epsilon(found['epsilon'])} at delta {found['delta']:g} per"
        f" {found['unit']} ({found['steps']} steps, sampling rate {found['sampling_rate']:.4g},"
        f" noise multiplier {found['noise_multiplier']:.4g}; {found['accountant']})"
    )
    if found["label"]:
        print(found["label"])
    if found["risk"]:
        print(found["risk"])
    if found["steps_resumed"]:
        rest = found["steps"] - found["steps_resumed"]
        print(f"resumed: {rest} steps are left, and only these are charged")
    if runs > 1:
        print(f"{runs} such runs: epsilon {epsilon(found['epsilon_all'])} together")
        best = found["epsilon_best_of_random_repeats"]
        if best is not None:
            print(
                f"instead a random number of runs, {runs} on average (geometric, drawn before any"
                f" is seen), of which only the best is ever shown: epsilon {epsilon(best)}"
            )
    left = found["budget"]
    if left is None:
        say(f"{found['dataset']} has no budget: nothing would be charged")
        return
    budget = f"budget of {left['name']}, epsilon {left['epsilon_budget']:g}"
    if left["delta"] != found["delta"]:
        budget += f" at delta {left['delta']:g} (not {found['delta']:g}: the two do not compare)"
    if left["exposed"]:
        print(f"{left['exposed']}; a private run may go on all the same")
    if left["refused"]:
        print(f"{budget}: {'it does' if runs == 1 else 'they do'} not fit: {left['refused']}")
        return
    if found["label"]:
        print(f"{budget}: it does not fit; --accept-no-privacy would expose the budget, for ever")
        return
    if left["exposed"]:
        return
    cost, whole = left["rho_cost"], left["rho_budget"]
    what = "it takes" if runs == 1 else f"{runs} such runs take"
    verdict = "" if left["fits"] else f"{'it does' if runs == 1 else 'they do'} not fit: "
    more = left["more_such_runs"]
    print(
        f"{budget}: {verdict}{what} {percent(runs * cost / whole)} of it,"
        f" {percent(left['rho_left'] / whole, at_least)} is left; {counted(more)} such run"
        f"{' fits' if more == 1 else 's fit'} [Rényi divergence of order {left['order']:g}: one"
        f" costs {cost:.4g}, {left['rho_left']:.4g} of {whole:.4g} is left]"
    )
