"""What a launch form offers to run on: who holds what is looked at on a thread, every so often."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from textual.css.query import NoMatches

from traindeck.tui.host import Host
from traindeck.tui.widgets.recipe_form import RecipeForm

if TYPE_CHECKING:
    from traindeck.tui.readers.launching import Devices


class DeviceOffers:
    """Looks at the devices for the form on show, which `form` gives.

    The hardware itself is looked at once, and again after `forget`.
    """

    def __init__(self, host: Host, form: Callable[[], RecipeForm | None]) -> None:
        self._host = host
        self._form = form
        self._devices: Devices | None = None
        self._looking = False

    def forget(self) -> None:
        self._devices = None

    def look(self) -> None:
        if self._looking:
            return
        self._looking = True
        home, known = self._host.home, self._devices

        def look() -> Devices:
            from traindeck.tui.readers.launching import (
                Devices,  # drivers: not before the first paint
            )

            try:
                return Devices.look(home, known)
            finally:
                self._looking = False

        self._host.in_background("The devices cannot be read", look, self._read)

    def _read(self, devices: Devices) -> None:
        self._devices = devices
        if (form := self._form()) is not None:
            self.show(form)

    def show(self, form: RecipeForm) -> None:
        """Tell a form what is known now."""
        if self._devices is None:
            return
        known = self._host.snapshot.by_id if self._host.snapshot else {}
        names = {key: known[key]["name"] for key in self._devices.taken.values() if key in known}
        kinds = form.recipe.devices
        with suppress(NoMatches):  # a form that is being taken down
            form.device.show_offers(
                self._devices.offers(kinds, names), partial(self._devices.explain, kinds=kinds)
            )
