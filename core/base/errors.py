"""Errors that people can do something about.

The message says what is wrong, where, and what to do; `exit_code` is what a command ends with.
"""

from __future__ import annotations

FAILED = 1
USAGE = 2
NOT_FOUND = 3
MISSING = 4
OVER_BUDGET = 5
INTERRUPTED = 130
TERMINATED = 143


class TraindeckError(Exception):
    """The base of all errors that are told in one line."""

    exit_code = FAILED


class UsageError(TraindeckError):
    """What was typed cannot be meant."""

    exit_code = USAGE


class NotFoundError(TraindeckError):
    """There is no such thing."""

    exit_code = NOT_FOUND


class MissingError(TraindeckError):
    """Hardware or a dependency is missing."""

    exit_code = MISSING


class ControlError(TraindeckError):
    """What was asked of a run cannot be done."""


class BudgetRefused(TraindeckError):
    """A privacy budget does not admit it; the message says what would fit."""

    exit_code = OVER_BUDGET
