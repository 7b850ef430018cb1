"""What tests of source do with the sample's repositories."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from fimg_pipeline.sample import SampleSource
from fimg_pipeline.settings import Settings, load
from fimg_pipeline.source.model import SourceSnapshot

AUTHOR = ("-c", "user.name=a", "-c", "user.email=a@example.org")


def settings(sample: SampleSource, tmp_path: Path, **environ: str) -> Settings:
    own = {
        "FATE_DIR": str(sample.fate),
        "FIMG_HOME": str(tmp_path / "home"),
        "FATE_LLM_URL": str(sample.fate_llm),
        "IPCL_URL": str(sample.ipcl),
        **environ,
    }
    return load(environ=own, directory=tmp_path)


def git(where: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(where), *arguments], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def git_as_owner(where: Path, *arguments: str) -> str:
    """git as the user who made the repository sees it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", raising=False)
        return git(where, *arguments)


def contents(snapshot: SourceSnapshot) -> dict[str, str]:
    return {name: package.content for name, package in snapshot.packages.items()}


def everything_below(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of modification of every file, to see that nothing was touched."""
    return {
        str(file): (file.lstat().st_size, file.lstat().st_mtime_ns)
        for root, _, files in os.walk(folder)
        for file in (Path(root) / name for name in files)
    }
