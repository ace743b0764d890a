"""What the launch form on show would cost in privacy: asked at every edit, answered by a thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from textual.css.query import NoMatches

from traindeck.tui.host import Host
from traindeck.tui.readers import pricing
from traindeck.tui.readers.pricing import LaunchPrice, Pricing
from traindeck.tui.widgets.recipe_form import RecipeForm


class Prices:
    """Keeps the price of the form on show, which `form` gives, up to date."""

    def __init__(self, host: Host, form: Callable[[], RecipeForm | None]) -> None:
        self._host = host
        self._form = form
        self._pricing: Pricing[LaunchPrice] | None = None
        self._asked = 0

    def ask(self, form: RecipeForm) -> None:
        """Work out what the form says; what was known of it is stale from now on."""
        recipe = form.chosen
        if not recipe.dataset and recipe.accounting is None:
            return
        if self._pricing is None:
            self._pricing = Pricing(self._answered)
        values = form.priced()
        question = partial(pricing.price, self._host.home, form.recipe, dict(values or {}))
        self._asked = self._pricing.ask(None if values is None else question)
        if recipe.accounting is not None:
            form.show_price(LaunchPrice() if values is None else None)

    def stop(self) -> None:
        if self._pricing is not None:
            self._pricing.stop()

    def _answered(self, number: int, price: LaunchPrice) -> None:
        """On the thread."""
        self._host.from_thread(self._host.Done(lambda: self._show(number, price)))

    def _show(self, number: int, price: LaunchPrice) -> None:
        form = self._form()
        if number == self._asked and form is not None:
            with contextlib.suppress(NoMatches):  # a form that is being taken down
                form.show_price(price)
