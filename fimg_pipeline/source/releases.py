"""Which releases of FATE are known: those that were there at first, and those that were added since.

Of one FATE, by where it is from: those of another are not new because it is looked at now.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from fimg_pipeline.errors import FimgError
from fimg_pipeline.state import locked, write_whole

_KEPT: Final = TypeAdapter(dict[str, list[str]])


def known(home: Path, fate: str) -> set[str] | None:
    """Versions (``1.11.2``) of the FATE that is called so; ``None`` before anybody looked at that.

    :class:`FimgError` if the file is damaged.
    """
    found = _kept(home, fate).get(fate)
    return None if found is None else set(found)


def keep(home: Path, fate: str, versions: Iterable[str]) -> None:
    """Has ``versions`` be known."""
    with locked(_file(home).with_suffix(".lock")):
        before = known(home, fate)
        if before is None or set(versions) - before:
            kept = {**_kept(home, fate), fate: sorted({*(before or ()), *versions})}
            write_whole(_file(home), json.dumps(kept, indent=2) + "\n")


def _kept(home: Path, fate: str) -> dict[str, list[str]]:
    file = _file(home)
    try:
        text = file.read_text(encoding="utf-8")
        # Earlier versions knew of one FATE only.
        found = json.loads(text) if text.lstrip().startswith("{") else {fate: json.loads(text)}
        return _KEPT.validate_python(found)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError):
        raise FimgError(f"{file} is damaged", hint="move it away: releases that are there then are not new") from None


def _file(home: Path) -> Path:
    return home / "releases.json"
