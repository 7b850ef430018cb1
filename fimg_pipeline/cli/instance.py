"""The Dagster instance runs are recorded in: ``DAGSTER_HOME``, or a folder of ours with the project's dagster.yaml."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import dagster as dg

import fimg_pipeline
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings

#: The checkout this runs from.
PROJECT: Final = Path(fimg_pipeline.__file__).parent.parent


def dagster_home(settings: Settings) -> Path:
    """``DAGSTER_HOME`` where set, otherwise ``FIMG_HOME/dagster`` (with our ``dagster.yaml``, if it has none)."""
    given = os.environ.get("DAGSTER_HOME")
    if given:
        home = Path(given).expanduser()
        if not home.is_absolute() or not home.is_dir():
            raise FimgError(f"DAGSTER_HOME={given} is not an absolute path of a folder", hint="create it, or unset it")
        if home.resolve().is_relative_to(settings.fate_dir.resolve()):
            raise FimgError(f"DAGSTER_HOME={given} must not be in FATE_DIR={settings.fate_dir}, which is only read")
        variable = f"DAGSTER_HOME={given}"
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
    os.environ["DAGSTER_HOME"] = str(dagster_home(settings))
    return dg.DagsterInstance.get()
