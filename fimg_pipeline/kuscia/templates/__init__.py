"""The templates that come with the project, by name; each says in its first lines what it is for."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fimg_pipeline.errors import FimgError

_FOLDER: Final = Path(__file__).parent
GENERAL: Final = "general"


def names() -> tuple[str, ...]:
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.yaml")))


def shipped(name: str) -> str:
    """The text of a template."""
    if name not in names():
        raise FimgError(f"there is no template {name!r}", hint=f"there are {', '.join(names())}")
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
