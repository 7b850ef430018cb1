"""This machine: git, room for what is kept, the time, the port of the web UI."""

from __future__ import annotations

import re
import shutil
import socket
from collections.abc import Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from fimg_pipeline.doctor.findings import Finding, Verdict, told
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.git import Git, GitError

#: The first whose cat-file and alternates do all that is asked of them.
_OLDEST_GIT: Final = (2, 30)
#: Layers kept for bundles and pushes, and bundles: as large as the images of FATE, compressed, twice.
_AMPLE: Final = 10e9
_UI_PORT: Final = 3000


def machine(settings: Settings, now: datetime | None = None) -> Iterator[Finding]:
    """``now``: with the machine's own time zone."""
    yield from told("git", _git)
    yield _room(settings)
    yield _time(settings, now or datetime.now().astimezone())
    yield _port(_UI_PORT)


def _git() -> str:
    text = Git().text("--version") or "git does not say its version"
    numbers = re.search(r"(\d+)\.(\d+)", text)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST_GIT:
        raise GitError(f"{text}; needed is {'.'.join(map(str, _OLDEST_GIT))} or later", hint="apt-get install git")
    return text


def _room(settings: Settings) -> Finding:
    folder = next(each for each in (settings.home, *settings.home.parents) if each.exists())
    free = shutil.disk_usage(folder).free
    what = f"{free / 1e9:.0f} GB free for FIMG_HOME={settings.home}"
    if free > _AMPLE:
        return Finding("state folder", Verdict.OK, what)
    return Finding(
        "state folder",
        Verdict.WARNING,
        f"{what}; bundles and pushes keep compressed layers there",
        "set FIMG_HOME, or BUNDLE_DIR, to a folder on a larger disk",
    )


def _time(settings: Settings, now: datetime) -> Finding:
    hour, minute = settings.nightly_at
    at = f"{hour:02}:{minute:02} {settings.time_zone}"
    there = now.astimezone(ZoneInfo(settings.time_zone)).replace(hour=hour, minute=minute)
    here = there.astimezone(now.tzinfo)
    if there.utcoffset() == here.utcoffset():
        return Finding("time zone", Verdict.OK, f"nights begin at {at}")
    return Finding(
        "time zone",
        Verdict.NOTE,
        f"nights begin at {at}, which is {here:%H:%M} by this machine's clock ({now.tzname()})",
        f"if that is not what you mean, set {'' if settings.time_zone == 'UTC' else 'another '}TIME_ZONE",
    )


def _port(port: int) -> Finding:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Finding(
                "web UI",
                Verdict.NOTE,
                f"port {port} is taken ({error.strerror}): by the web UI, or by something else",
                f"see http://127.0.0.1:{port}, or choose another: fimg ui --port",
            )
    return Finding("web UI", Verdict.OK, f"port {port} is free for `fimg ui`")
