"""Errors meant for people: what is wrong, where, and what to do about it.

Everything raised on purpose derives from :class:`FimgError`; the command line prints it without a traceback, a
Dagster step turns it into a failure with the same text. Anything else that escapes is a bug.
"""

from __future__ import annotations


class FimgError(Exception):
    """A problem the user can act on.

    ``message`` says what is wrong and where; ``hint`` what to do. ``transient`` is true when the same call may
    succeed later without any change (a network that did not answer), which is what retries look at.
    """

    transient: bool = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message


class TransientError(FimgError):
    """A failure that can pass by itself: a registry that timed out, a connection reset."""

    transient = True
