"""The Dagster instance runs are recorded in: ``DAGSTER_HOME``, or a folder of ours with the project's dagster.yaml."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import dagster as dg

import fimg_pipeline
from fimg_pipeline.automation.executor import POOLS
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings

#: The checkout this runs from.
PROJECT: Final = Path(fimg_pipeline.__file__).parent.parent


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
            configuration.symlink_to(PROJECT / "dagster.yaml")
    except OSError as error:
        raise FimgError(f"{variable} can't be used: {error.strerror}") from None
    return home


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance, to be used as a context manager. Sets ``DAGSTER_HOME`` for the processes that follow."""
    home = dagster_home(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    _size_pools(home)
    return dg.DagsterInstance.get()


def _size_pools(home: Path) -> None:
    """Gives the build pools as many places as this machine has builds at once; only when that changed."""
    done = home / f".pools-{'-'.join(map(str, POOLS.values()))}"
    if done.exists():
        return
    for pool, places in POOLS.items():
        command = [sys.executable, "-m", "dagster", "instance", "concurrency", "set", pool, str(places)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            why = " ".join(result.stderr.strip().splitlines()[-1:])
            raise FimgError(f"pool {pool} of the Dagster instance in {home} can't be set: {why}")
    for earlier in home.glob(".pools-*"):
        earlier.unlink(missing_ok=True)
    done.touch()
