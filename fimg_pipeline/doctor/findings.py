"""What was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

from fimg_pipeline.errors import FimgError


class Verdict(str, Enum):
    """``NOTE``: nothing is wrong, but somebody may wonder. ``WARNING``: something will not work, or not well."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """Of a ``part`` of the world what was found, and how that is mended, if it has to be."""

    part: str
    verdict: Verdict
    told: str
    hint: str = ""


def wrong(part: str, error: FimgError, verdict: Verdict = Verdict.WRONG) -> Finding:
    """What an error says."""
    return Finding(part, verdict, error.message, error.hint or "")


def told(part: str, ask: Callable[[], str], verdict: Verdict = Verdict.WRONG) -> Iterator[Finding]:
    """What ``ask`` says is there; or its error, as ``verdict``."""
    try:
        yield Finding(part, Verdict.OK, ask())
    except FimgError as error:
        yield wrong(part, error, verdict)
