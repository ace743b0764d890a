"""`traindeck budget forecast`: what a launch, or many, would cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from traindeck.core.base.errors import OVER_BUDGET, UsageError
from traindeck.tui.commands.output import AS_JSON, patience, print_json, say, tell

if TYPE_CHECKING:
    from traindeck.core.privacy.forecast import BudgetForecast, Forecast


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
    from traindeck.core.privacy import forecast as of_launches
    from traindeck.core.privacy.ledger.ledgers import ledgers
    from traindeck.core.recipe.find import find_recipe
    from traindeck.tui.commands.run import params

    home = Home.default()
    asked = find_recipe(home, recipe)
    with patience(f"working out what {recipe} would cost: a plan like this one takes a while …"):
        priced = of_launches.forecast(home, asked, params(param or []), runs)
    if priced is None:
        private = asked.private_choices()
        mend = f"; with {private} it has one" if private else ""
        raise UsageError(f"{recipe} has no privacy accounting: it costs an infinite epsilon{mend}")
    if as_json:
        print_json(priced.to_json())
    else:
        _print(recipe, priced, any(ledgers(home.ledger)))
    if not priced.fits:
        raise typer.Exit(OVER_BUDGET)


def _print(recipe: str, priced: Forecast, budgets: bool) -> None:
    from traindeck.core.privacy.mechanism import RELATION
    from traindeck.tui.commands.budget_words import epsilon

    plan, mechanism = priced.plan, priced.plan.mechanism
    relation = "" if plan.relation == RELATION else f", {plan.relation}"
    bands = f" in {mechanism.bands} bands" if mechanism.bands > 1 else ""
    tell(
        f"{recipe}: epsilon {epsilon(plan.epsilon)} at delta {plan.delta:g} per"
        f" {plan.unit}{relation} ({mechanism.steps} steps, sampling rate"
        f" {mechanism.sampling_rate:.4g}, noise multiplier {mechanism.noise_multiplier:.4g}{bands};"
        f" {plan.accountant})"
    )
    if plan.adaptive is not None:
        print(
            f"the clipping norm follows the {plan.adaptive.quantile:g} quantile of the gradients'"
            " norms; its noisy count is in the price"
        )
    if plan.label:
        tell(plan.label)
    if priced.risk_in_words:
        tell(priced.risk_in_words)
    if priced.steps_resumed:
        rest = mechanism.steps - priced.steps_resumed
        tell(f"resumed: {rest} steps are left, and only these are charged")
    if priced.steps_owed:
        tell(
            f"resumed: the budget was never charged for {priced.steps_owed} steps that the"
            " checkpoint holds, so they are charged too"
        )
    if priced.runs > 1:
        tell(f"{priced.runs} such runs: epsilon {epsilon(priced.epsilon_all)} together")
        best = priced.epsilon_best_of_random_repeats
        if best is not None:
            tell(
                f"instead a random number of runs, {priced.runs} on average (geometric, drawn"
                f" before any is seen), of which only the best is ever shown: epsilon"
                f" {epsilon(best)}"
            )
    if priced.budget is None:
        other = "; if its data has one by another name, a launch is refused" if budgets else ""
        say(f"{plan.dataset} has no budget: nothing would be charged{other}")
    else:
        _print_budget(priced, priced.budget)


def _print_budget(priced: Forecast, budget: BudgetForecast) -> None:
    from traindeck.core.privacy.bounds import at_least, counted, percent

    plan, runs = priced.plan, priced.runs
    name = f"budget of {budget.name}, epsilon {budget.epsilon_budget:g}"
    if budget.delta != plan.delta:
        name += f" at delta {budget.delta:g} (not {plan.delta:g}: the two do not compare)"
    if budget.exposed:
        tell(f"{budget.exposed}; a private run may go on all the same")
    if budget.refused:
        tell(f"{name}: {'it does' if runs == 1 else 'they do'} not fit: {budget.refused}")
        return
    if plan.label:
        tell(f"{name}: it does not fit; --accept-no-privacy would expose the budget, for ever")
        return
    if budget.exposed:
        return
    cost, whole, left = budget.rho_cost, budget.rho_budget, budget.rho_left
    what = "it takes" if runs == 1 else f"{runs} such runs take"
    verdict = "" if budget.fits else f"{'it does' if runs == 1 else 'they do'} not fit: "
    more = budget.more_such_runs
    tell(
        f"{name}: {verdict}{what} {percent(runs * cost / whole)} of it,"
        f" {percent(left / whole, at_least)} is left; {counted(more)} such run"
        f"{' fits' if more == 1 else 's fit'} [Rényi divergence of order {budget.order:g}: one"
        f" costs {cost:.4g}, {left:.4g} of {whole:.4g} is left]"
    )
