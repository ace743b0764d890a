"""What is refused, by gRPC's codes, and the HTTP status that TensorFlow Serving gives for each."""

from __future__ import annotations

HTTP = {
    "INVALID_ARGUMENT": 400,
    "UNAUTHENTICATED": 401,
    "NOT_FOUND": 404,
    "DEADLINE_EXCEEDED": 504,
    "RESOURCE_EXHAUSTED": 429,
    "FAILED_PRECONDITION": 400,
    "UNIMPLEMENTED": 501,
    "INTERNAL": 500,
    "UNAVAILABLE": 503,
}
CODES = {
    "OK": 0,
    "INVALID_ARGUMENT": 3,
    "DEADLINE_EXCEEDED": 4,
    "NOT_FOUND": 5,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
    "UNAVAILABLE": 14,
    "UNAUTHENTICATED": 16,
}
MOST = 1024
"""Characters of a library's own message that are passed on."""


class Refused(Exception):
    """A request that is not answered, or a version that is not loaded: why, by a code of gRPC."""

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.status = status or HTTP[code]


def invalid(message: str) -> Refused:
    """What the client has to mend."""
    return Refused("INVALID_ARGUMENT", message)


def brief(error: BaseException) -> str:
    """A library's message on one line."""
    text = str(getattr(error, "message", "") or error) or type(error).__name__
    return " ".join(text.split())[:MOST]
