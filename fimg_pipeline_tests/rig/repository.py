"""Damaging a repository as partial public copies and broken disks do."""

from __future__ import annotations

import subprocess
from pathlib import Path


def lose_object(repository: Path, expression: str) -> None:
    """Removes what ``expression`` (``HEAD``, ``HEAD:path``) stands for from a checkout's objects, packed or not."""

    def git(*arguments: str, pack: Path | None = None) -> str:
        with (pack or Path("/dev/null")).open("rb") as stream:
            command = ["git", "-C", str(repository), *arguments]
            return subprocess.run(command, stdin=stream, capture_output=True, text=True, check=True).stdout.strip()

    object_id = git("rev-parse", expression)
    objects = repository / ".git/objects"
    for pack in list((objects / "pack").glob("*.pack")):
        # git unpacks only what it does not have.
        moved = pack.rename(repository / ".git" / pack.name)
        pack.with_suffix(".idx").unlink()
        git("unpack-objects", "-q", pack=moved)
        moved.unlink()
    (objects / object_id[:2] / object_id[2:]).unlink()
