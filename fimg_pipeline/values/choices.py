"""Choices, times, numbers and sizes."""

from __future__ import annotations

import re
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from fimg_pipeline.catalog.platforms import Platform, as_platform

_MAX_LINE: Final = 4096
#: Below it files would be split into more parts than anybody carries.
SMALLEST_PART: Final = 1 << 20
_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
#: What can follow a build by itself, in the order it is told in.
DELIVERIES: Final = ("push", "bundle", "register")


def switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


def platform(text: str) -> Platform:
    try:
        return as_platform(text)
    except ValueError:
        raise ValueError("must be amd64 or arm64") from None


def platforms(text: str) -> tuple[Platform, ...]:
    """A list of platforms."""
    return tuple(dict.fromkeys(platform(name) for name in re.split(r"[\s,]+", text.strip(" ,"))))


def deliveries(text: str) -> tuple[str, ...]:
    """What follows a build by itself, e.g. ``push, bundle``."""
    found = set(re.split(r"[\s,]+", text.strip(" ,")))
    if found - set(DELIVERIES):
        raise ValueError(f"must be of {', '.join(DELIVERIES)}, with commas")
    return tuple(name for name in DELIVERIES if name in found)


def base_updates(text: str) -> str:
    """What is done about newer base images: ``nightly`` builds stand on them, or ``ask``."""
    if text not in ("nightly", "ask"):
        raise ValueError("must be nightly or ask")
    return text


def steps(text: str) -> str:
    """What the steps of a run are: ``processes`` of it, or ``containers`` beside it."""
    if text not in ("processes", "containers"):
        raise ValueError("must be processes or containers")
    return text


def releases(text: str) -> SpecifierSet:
    """Which releases are meant, as Python's packages say it: ``==1.11.*``, ``>=1.11.3,<2``."""
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError("must be versions such as ==1.11.* or >=1.11.3,<2") from None


def time_of_day(text: str) -> tuple[int, int]:
    """Hour and minute."""
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if found is None:
        raise ValueError("must be a time of day such as 02:30")
    return int(found[1]), int(found[2])


def time_of_week(text: str) -> tuple[int, int, int]:
    """Day (0: Sunday, as cron has it), hour and minute of ``sunday 01:00``."""
    day, _, time = text.strip().lower().partition(" ")
    if day not in _DAYS:
        raise ValueError("must be a day and a time of the week: sunday 01:00")
    return _DAYS.index(day), *time_of_day(time)


def time_zone(text: str) -> str:
    """A time zone by its name, e.g. ``Asia/Shanghai``."""
    try:
        # Not looked for in a list of all of them, which is read from hundreds of files.
        ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("must be a time zone, e.g. Asia/Shanghai") from None
    return text


def count(text: str) -> int:
    """A number of things, from 1."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not int(text):
        raise ValueError("must be a number from 1 to 9999")
    return int(text)


def part_size(text: str) -> int:
    """How large the parts of a file may be, in bytes; ``M``, ``G`` and ``T`` are powers of 1024."""
    found = re.fullmatch(r"([0-9]{1,15})([MGT]?)", text, re.IGNORECASE)
    if found is None:
        raise ValueError("must be a size such as 700M or 2G")
    size = int(found[1]) << {"": 0, "M": 20, "G": 30, "T": 40}[found[2].upper()]
    if size < SMALLEST_PART:
        raise ValueError("must be at least 1M")
    return size


def line(text: str) -> str:
    """A name or a password: anything that fits on one line. It goes into a request's header and nowhere else."""
    if not text.isprintable() or len(text) > _MAX_LINE:
        raise ValueError(f"must be one line of at most {_MAX_LINE} printable characters")
    return text
