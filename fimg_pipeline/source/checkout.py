"""A working folder of the user's, and where git keeps what belongs to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

from fimg_pipeline.source.git import Git, GitError, complaint

#: What git is asked for in one go: paths come back relative to the folder, or absolute.
_PLACES: Final = ("objects", "index", "info/exclude", "shallow", "modules")


@dataclass(frozen=True)
class Checkout:
    """``top`` is the folder git takes for its root, which a folder inside of another checkout is not.

    ``objects`` has the objects, ``index`` what is staged, ``exclude`` what this clone alone ignores, ``shallow`` (there
    in shallow clones only) where its history ends, ``modules`` the repositories of its submodules.
    """

    folder: Path
    top: Path
    object_format: str
    objects: Path
    index: Path
    exclude: Path
    shallow: Path
    modules: Path

    @classmethod
    def at(cls, folder: Path) -> Checkout:
        """The checkout ``folder`` is or belongs to; :class:`GitError` with git's words when it is none."""
        places = [argument for place in _PLACES for argument in ("--git-path", place)]
        done = Git(work_tree=folder).run("rev-parse", "--show-toplevel", "--show-object-format", *places)
        if done.returncode != 0:
            raise GitError(complaint(done.stderr))
        lines = done.stdout.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")
        if len(lines) != 2 + len(_PLACES):
            raise GitError("a path with a line break in it is not supported")
        top, object_format, *paths = lines
        return cls(folder, Path(top).resolve(), object_format, *((folder / path).resolve() for path in paths))

    @property
    def is_top(self) -> bool:
        return self.top == self.folder.resolve()

    @property
    def git(self) -> Git:
        return Git(work_tree=self.folder)

    @cached_property
    def urls(self) -> Mapping[str, str]:
        """The URLs its own configuration has of where it and its submodules come from: ``remote.origin.url``, …"""
        return configured(self.git, r"^(remote\.origin|submodule\..*)\.url$")

    def head(self) -> tuple[str, str] | None:
        """The commit it stands at and the branch, ``HEAD`` when detached; ``None`` when git can't say."""
        answer = self.git.text("rev-parse", "HEAD^{commit}", "--abbrev-ref", "HEAD")
        if answer is None:
            return None
        commit, _, branch = answer.partition("\n")
        return commit, branch


def configured(git: Git, pattern: str, *where: str) -> dict[str, str]:
    """The settings whose names match ``pattern``, from git's configuration or from ``where``; the last one counts."""
    answer = git.run("config", *where, "-z", "--get-regexp", pattern).stdout.decode("utf-8", "replace")
    return dict(entry.split("\n", 1) for entry in answer.split("\0") if "\n" in entry)
