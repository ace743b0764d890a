"""A recipe's own flags, made from its header. Standard library only."""

from __future__ import annotations

import argparse
import os
from typing import Any

from traindeck.core.params import Param, ParamError
from traindeck.core.recipe import Recipe
from traindeck.core.variables import DEVICE


def parser(recipe: Recipe) -> argparse.ArgumentParser:
    """What a recipe takes on its command line."""
    made = argparse.ArgumentParser(
        prog=recipe.path.name,
        description=f"{recipe.title}. {recipe.description}".strip(),
        allow_abbrev=False,
    )
    for param in recipe.params.values():
        _add_flag(made, param)
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


def _add_flag(parser: argparse.ArgumentParser, param: Param) -> None:
    words = [param.help, param.limits if param.type != "choice" else ""]
    text = "; ".join(word for word in words if word).replace("%", "%%")
    if param.default is not None:
        text = f"{text} (default: {str(param.default).replace('%', '%%')})".strip()
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
