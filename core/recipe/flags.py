"""A recipe's own flags, made from its header. Standard library only."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from traindeck.core.base.environ import DEVICE
from traindeck.core.recipe.params import Param, ParamError
from traindeck.core.recipe.recipe import Recipe


def parse(recipe: Recipe, argv: Sequence[str] | None) -> tuple[Recipe, argparse.Namespace]:
    """What was typed, and the recipe as it makes it. Ends the process (2) for a wrong flag."""
    given = _parser(recipe).parse_args(argv)
    chosen = recipe.chosen(vars(given))
    if chosen.params != recipe.params:  # other defaults
        given = _parser(chosen).parse_args(argv)
    return chosen, given


def _parser(recipe: Recipe) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=recipe.path.name,
        description=f"{recipe.title}. {recipe.description}".strip(),
        allow_abbrev=False,
    )
    for param in recipe.params.values():
        _add_flag(made, param, recipe.defaults_elsewhere(param.name))
    devices = [kind for kind in recipe.devices if kind in ("cpu", "gpu", "tpu")]
    made.add_argument(
        "--device",
        choices=devices,
        default=os.environ.get(DEVICE, "cpu"),
        help="what to train on (default: %(default)s)",
    )
    if recipe.dataset:
        made.add_argument(
            "--accept-no-privacy",
            action="store_true",
            help="train without privacy even where the data set has a privacy budget: it is then"
            " recorded as exposed",
        )
    made.add_argument(
        "--run-folder", metavar="DIR", help="write points, events and artifacts there as well"
    )
    return made


def _add_flag(parser: argparse.ArgumentParser, param: Param, elsewhere: str) -> None:
    words = [param.help, param.limits if param.type != "choice" else ""]
    text = "; ".join(word for word in words if word).replace("%", "%%")
    if param.default is not None:
        default = f"{param.default}, {elsewhere}" if elsewhere else str(param.default)
        text = f"{text} (default: {default.replace('%', '%%')})".strip()
    if param.type == "bool":
        parser.add_argument(
            param.flag,
            dest=param.name,
            action=argparse.BooleanOptionalAction,
            default=param.default,
            help=text,
        )
        return

    def parse(given: str) -> Any:
        try:
            return param.parse(given)
        except ParamError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    parser.add_argument(
        param.flag,
        dest=param.name,
        type=parse,
        default=param.default,
        metavar="{" + ",".join(param.choices) + "}" if param.choices else param.type.upper(),
        help=text,
    )
