"""The git command, cut off from the user's configuration: the same call does the same on every machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from fimg_pipeline.sample.errors import SampleError

AUTHOR_NAME = "fimg sample"
AUTHOR_EMAIL = "sample@fimg.invalid"

_OPTIONS = (
    "commit.gpgSign=false",
    "tag.gpgSign=false",
    "core.autocrlf=false",
    "core.fileMode=true",
    # Hooks of a template directory or of the repository itself are the user's, not part of the sample.
    f"core.hooksPath={os.devnull}",
    "gc.auto=0",
    # Submodules of the sample are fetched from the folders beside it, which git refuses by default.
    "protocol.file.allow=always",
)


def isolated_environment(environment: Mapping[str, str], date: str | None = None) -> dict[str, str]:
    """``environment`` without what steers git, with the sample's identity and, when given, ``date`` for commits."""
    result = {name: value for name, value in environment.items() if not name.startswith("GIT_")}
    result |= {
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        # None: its hooks and settings would be copied into every repository.
        "GIT_TEMPLATE_DIR": "",
        "GIT_AUTHOR_NAME": AUTHOR_NAME,
        "GIT_AUTHOR_EMAIL": AUTHOR_EMAIL,
        "GIT_COMMITTER_NAME": AUTHOR_NAME,
        "GIT_COMMITTER_EMAIL": AUTHOR_EMAIL,
        "LC_ALL": "C",
        # Without them git reads $XDG_CONFIG_HOME/git/{ignore,attributes} even when its configuration is elsewhere.
        "XDG_CONFIG_HOME": os.devnull,
        "HOME": os.devnull,
    }
    if date is not None:
        result |= {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date}
    return result


def run(*arguments: str | Path, cwd: Path, date: str | None = None) -> str:
    """Runs git in ``cwd`` and returns what it printed, without the last line break."""
    command = ["git", *(part for option in _OPTIONS for part in ("-c", option)), *map(str, arguments)]
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=isolated_environment(os.environ, date),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    except OSError as error:
        raise SampleError(
            f"git could not be started in {cwd}: {error}", hint="install git, or check the folder"
        ) from error
    if done.returncode != 0:
        shown = " ".join(map(str, arguments))
        raise SampleError(f"`git {shown}` failed in {cwd}: {done.stderr.strip() or f'exit {done.returncode}'}")
    return done.stdout.rstrip("\n")
