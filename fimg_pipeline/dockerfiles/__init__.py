"""The recipes themselves, and reading them: which files a recipe's build context holds, and their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Final

ROOT: Final = Path(__file__).parent


@cache
def recipe_files(path: str) -> Mapping[str, Path]:
    """Files of the recipe in ``path`` by their place in the build context.

    Of the shared ``lib/`` only what the recipe names (directly, or through a file of ``lib/`` it names) belongs to it:
    a change to the rest must not rebuild it.
    """
    folder = ROOT / path
    files = {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if _is_source(file)}
    library = {file.name: file for file in sorted((ROOT / "lib").iterdir()) if _is_source(file)}
    pending = list(files.values())
    while pending:
        text = pending.pop().read_text(encoding="utf-8", errors="replace")
        for name in [name for name in library if name in text]:
            files[f"lib/{name}"] = library.pop(name)
            pending.append(files[f"lib/{name}"])
    return MappingProxyType(files)


@cache
def recipe_digest(path: str) -> str:
    """Names, modes and content of the recipe's files as one sha256."""
    digest = hashlib.sha256()
    for name, file in sorted(recipe_files(path).items()):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{name}\0{is_executable(file)}\0{content}\0".encode())
    return digest.hexdigest()


def read_again() -> None:
    """Has recipes be read anew: they may have changed under a process that lives long."""
    recipe_files.cache_clear()
    recipe_digest.cache_clear()


def is_executable(file: Path) -> bool:
    """Whether git would record the file as executable; other mode bits depend on the machine's umask."""
    return bool(file.stat().st_mode & 0o100)


def _is_source(file: Path) -> bool:
    return file.is_file() and "__pycache__" not in file.parts
