"""Whether there is room for what is to be written; looked for before anything is."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fimg_pipeline.ship.layers import ShipError

#: What is left free on a disk that is written to.
_SPARE: Final = 64 << 20
SPACE_HINT: Final = "free space there, or choose another folder (--output, BUNDLE_DIR, FIMG_HOME)"


def require_space(folder: Path, size: int) -> None:
    """:class:`ShipError` when ``folder``'s file system has no ``size`` bytes free."""
    free = shutil.disk_usage(folder).free
    if free < size + _SPARE:
        raise ShipError(
            f"{folder} has {free / 1e9:.2f} GB free, and {(size + _SPARE) / 1e9:.2f} GB are needed",
            hint=SPACE_HINT,
        )


def require_room(needed: Sequence[tuple[Path, int]]) -> None:
    """:func:`require_space` for several folders, of which some may be on one disk, and some not there yet."""
    disks: dict[Any, dict[Path, int]] = {}
    for folder, size in needed:
        existing = _existing(folder)
        on_it = disks.setdefault(_disk_of(existing), {})
        on_it[existing] = on_it.get(existing, 0) + size
    for on_it in disks.values():
        # The one that needs most says where room is to be made.
        require_space(max(on_it, key=on_it.__getitem__), sum(on_it.values()))


def _existing(folder: Path) -> Path:
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())


def _disk_of(folder: Path) -> Any:
    """Equal for folders of one file system."""
    return folder.stat().st_dev
