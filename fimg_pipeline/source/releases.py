"""Which releases of FATE are known: those that were there at first, and those that were added since.

Of one FATE, by where it is from: those of another are not new because it is looked at now.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from fimg_pipeline.errors import FimgError
from fimg_pipeline.state import locked, write_whole


class _Kept(BaseModel):
    model_config = ConfigDict(extra="forbid")

    fate: str
    versions: list[str]


def known(home: Path, fate: str) -> set[str] | None:
    """Versions (``1.11.2``) of the FATE that is from there; ``None`` before anybody looked at that.

    :class:`FimgError` if the file is damaged.
    """
    file = _file(home)
    try:
        kept = _Kept.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise FimgError(f"{file} is damaged", hint="move it away: releases that are there then are not new") from None
    return set(kept.versions) if kept.fate == fate else None


def keep(home: Path, fate: str, versions: Iterable[str]) -> None:
    """Has ``versions`` be known."""
    with locked(_file(home).with_suffix(".lock")):
        before = known(home, fate)
        if before is None or set(versions) - before:
            kept = _Kept(fate=fate, versions=sorted({*(before or ()), *versions}))
            write_whole(_file(home), kept.model_dump_json(indent=2) + "\n")


def _file(home: Path) -> Path:
    return home / "releases.json"
