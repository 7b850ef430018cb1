"""The Dagster instance runs are recorded in: ``DAGSTER_HOME``, or a folder of ours with the project's dagster.yaml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import dagster as dg

import fimg_pipeline
from fimg_pipeline.assets.steps import POOL
from fimg_pipeline.automation.executor import MAX_CONCURRENT
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.state import locked

_PACKAGE: Final = Path(fimg_pipeline.__file__).parent
#: How a Dagster instance is set up, and what its web server and daemon load.
CONFIGURATION: Final = _PACKAGE / "dagster.yaml"
WORKSPACE: Final = _PACKAGE / "workspace.yaml"
#: How much of what a command printed is told.
_TOLD: Final = 500
#: Where alembic's and SQLAlchemy's messages go on about themselves.
_NOISE: Final = ("(Background on this error", "[SQL:", "[parameters:")


def dagster_home(settings: Settings) -> Path:
    """``DAGSTER_HOME`` where set, otherwise ``FIMG_HOME/dagster`` (with our ``dagster.yaml``, if it has none)."""
    given = os.environ.get("DAGSTER_HOME")
    if given:
        home, variable = Path(given).expanduser(), f"DAGSTER_HOME={given}"
    else:
        home, variable = settings.home / "dagster", f"FIMG_HOME={settings.home}"
    configuration = home / "dagster.yaml"
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not configuration.exists():
            configuration.unlink(missing_ok=True)  # a link to a checkout that is gone
            configuration.symlink_to(CONFIGURATION)
    except OSError as error:
        raise FimgError(
            f"{variable} can't be used: {error.strerror}", hint=f"set {variable.partition('=')[0]} to a folder of yours"
        ) from None
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance, to be used as a context manager. Sets ``DAGSTER_HOME`` for the processes that follow.

    The first command that finds none makes it while others wait: Dagster's tables can't be made by two at once.
    """
    home = dagster_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    with locked(home / ".lock"):
        try:
            instance = dg.DagsterInstance.get()
        # Whatever Dagster's storages and configuration make of a folder that is damaged.
        except Exception as error:
            raise _unusable(home, str(error)) from None
        _size_pool(home)
    return instance


def _size_pool(home: Path) -> None:
    """Gives the build pool as many places as this machine has builds at once; only when that changed."""
    done = home / f".pool-{MAX_CONCURRENT}"
    if done.exists():
        return
    command = [sys.executable, "-m", "dagster", "instance", "concurrency", "set", POOL, str(MAX_CONCURRENT)]
    # Not in the user's folder, whose files Python would take for modules.
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=home)
    if result.returncode != 0:
        raise _unusable(home, result.stderr[-_TOLD:])
    for earlier in home.glob(".pool-*"):
        earlier.unlink(missing_ok=True)
    done.touch()


def _unusable(home: Path, told: str) -> FimgError:
    lines = [line.strip() for line in told.splitlines() if line.strip() and not line.startswith(_NOISE)]
    return FimgError(
        f"the Dagster instance in {home} can't be used: {' '.join(lines) or 'no reason was given'}",
        hint="if it is damaged, move that folder away: a new one is made, without the runs recorded so far",
    )
