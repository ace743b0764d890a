"""How models fare, each by itself where a server has several."""

from __future__ import annotations

from tests.tui.homes import make_run
from tests.tui.models_home import make_bundle, make_server, served
from tests.tui.pilots import shown, until, until_shown
from tests.tui.test_models_screen import RATES, choose
from traindeck.core.base.home import Home
from traindeck.core.run.points import PointWriter
from traindeck.tui.app import TraindeckApp
from traindeck.tui.readers.models import figures


async def test_two_models_of_one_server_fare_each_by_themselves(
    app: TraindeckApp, home: Home
) -> None:
    places = [make_bundle(home, name, 1) for name in ("digits", "patients")]
    make_server(
        home,
        7,
        *(served(place.parent.name, place) for place in places),
        rates=RATES,
        each={"digits/1": 31.0, "patients/1": 204.0},
    )
    async with app.run_test(size=(160, 40)) as pilot:
        screen = await choose(pilot, "digits/1")
        await until(pilot, lambda: screen.current and screen.current.state == "serving")
        await until_shown(pilot, "31 a second")
        await until_shown(pilot, "p50 3.1 ms, p99 31 ms")
        await until_shown(pilot, "about 12 of the server's 97 MB")
        assert "versions that it serves" not in shown(pilot)
        screen.table.select("patients/1")
        await until_shown(pilot, "204 a second")


async def test_figures_of_several_that_are_not_known_of_each_say_so(
    app: TraindeckApp, home: Home
) -> None:
    places = [make_bundle(home, "digits", number) for number in (1, 2)]
    make_server(home, 7, *(served("digits", place) for place in places), rates=RATES)
    async with app.run_test(size=(160, 40)) as pilot:
        await choose(pilot, "digits/1")
        await until_shown(pilot, "of all 2 versions that it serves")


def test_figures_are_of_the_last_minute_and_hold_for_torn_files(home: Home) -> None:
    run = make_run(home, 1, recipe="serve", index=False)
    folder = home.runs / run
    assert figures(folder) == {}
    writer = PointWriter(folder)
    writer.add(0, {"serve/requests_per_second": 9.0, "serve/errors": 5.0, "serve/p50_ms": 1.0}, 0.0)
    writer.add(90, {"serve/requests_per_second": 0.0, "serve/errors": 2.0}, 90.0)
    writer.close()
    with (folder / "points.bin").open("ab") as file:
        file.write(b"torn")
    seen = figures(folder)[""]
    assert (seen.rates, seen.errors, seen.p50) == ((0.0,), 2, None)
