"""Which releases of FATE are known: those that were there at first, and those that were added since."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from fimg_pipeline.errors import FimgError
from fimg_pipeline.state import locked, write_whole


def known(home: Path) -> set[str] | None:
    """Versions (``1.11.2``); ``None`` before anybody looked. :class:`FimgError` if the file is damaged."""
    file = _file(home)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, list) or not all(isinstance(version, str) for version in found):
            raise ValueError
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError):
        raise FimgError(f"{file} is damaged", hint="move it away: releases that are there then are not new") from None
    return set(found)


def keep(home: Path, versions: Iterable[str]) -> None:
    """Has ``versions`` be known."""
    with locked(_file(home).with_suffix(".lock")):
        before = known(home)
        if before is None or set(versions) - before:
            write_whole(_file(home), json.dumps(sorted({*(before or ()), *versions}), indent=2) + "\n")


def _file(home: Path) -> Path:
    return home / "releases.json"
