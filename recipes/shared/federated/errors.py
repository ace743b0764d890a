"""How a federation says that it cannot, whichever of its sides says so."""

from __future__ import annotations


class Failed(RuntimeError):
    """The federation cannot go on; the text says who or what is the reason."""


class Unfit(Failed):
    """What was asked for is no federation: too few owners, or a threshold that none can have."""


class FederationOverBudget(Failed):
    """A privacy budget, an owner's or the data set's, does not admit the run or its next round."""


class Stopped(Exception):
    """The run was asked to stop while something was waited for."""


class Refused(PermissionError):
    """What was asked of an owner would not be safe; the text says whose fault it seems."""


class Unrecoverable(RuntimeError):
    """A round's sum cannot be opened; the text says whose shares are missing."""
