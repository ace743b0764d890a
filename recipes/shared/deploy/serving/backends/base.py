"""What runs a version's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from traindeck.recipes.shared.deploy.serving.kinds import Array, Signature


class Backend(Protocol):
    """A loaded model, given back when nothing refers to it any more.

    It is made of a file and of how many threads one request has within it. `run` may be called by
    several threads at once.
    """

    kind: str
    memory: int
    """Bytes of the process: before the model was loaded, its library apart; then what it added."""
    signatures: dict[str, Signature]

    def run(
        self, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str] = ()
    ) -> dict[str, Array]:
        """The outputs by name; all of them where none is named. Raises Refused."""
