"""Preparing and starting the web UI."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from fimg_pipeline.assets.partitions import add_tag
from fimg_pipeline.assets.steps import POOL
from fimg_pipeline.automation.executor import MAX_CONCURRENT
from fimg_pipeline.cli.instance import PROJECT, dagster_home, open_instance
from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings

LOOPBACK: Final = "127.0.0.1"


def prepare(settings: Settings) -> str:
    """Sizes the build pool for this machine; once, since asking Dagster takes seconds."""
    home = dagster_home(settings)
    done = home / f".{POOL}-{MAX_CONCURRENT}"
    if not done.exists():
        command = [sys.executable, "-m", "dagster", "instance", "concurrency", "set", POOL, str(MAX_CONCURRENT)]
        result = subprocess.run(
            command, env={**os.environ, "DAGSTER_HOME": str(home)}, capture_output=True, text=True, check=False
        )
        if result.returncode != 0:
            raise FimgError(f"the build pool can't be set: {result.stderr.strip().splitlines()[-1:]}")
        done.touch()
    return f"Dagster instance in {home}, {MAX_CONCURRENT} builds at once"


def serve(settings: Settings, port: int) -> None:
    """Becomes ``dagster dev``: web server and daemon on loopback. The configured tag is a partition from the start."""
    with open_instance(settings) as instance:
        add_tag(instance, settings.tag)
    workspace = PROJECT / "workspace.yaml"
    if not workspace.is_file():
        raise FimgError(f"{workspace} is missing", hint="run from a checkout of the project")
    os.chdir(Path(workspace).parent)
    arguments = ["dev", "--workspace", str(workspace), "--host", LOOPBACK, "--port", str(port)]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "dagster", *arguments])
