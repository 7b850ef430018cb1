"""Preparing and starting the web UI."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
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


def serve(settings: Settings, flags: Mapping[str, str], port: int) -> None:
    """Becomes ``dagster dev``: web server and daemon on loopback. The configured tag is a partition from the start.

    It keeps the working folder, whose ``.env`` counts for it too, and gets ``flags`` by environment.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise FimgError(f"port {port} can't be used: {error.strerror}", hint="choose another: --port") from None
    with open_instance(settings) as instance:
        add_tag(instance, settings.tag)
    workspace = PROJECT / "workspace.yaml"
    if not workspace.is_file():
        raise FimgError(f"{workspace} is missing", hint="run from a checkout of the project")
    arguments = ["dev", "--workspace", str(workspace), "--host", LOOPBACK, "--port", str(port)]
    sys.stdout.flush()
    os.environ.update(flags)
    # Started in the background of a script, SIGINT comes ignored; Dagster would then ignore SIGTERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "dagster", *arguments])
