"""Preparing and starting the web UI."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import suppress
from typing import Final

from fimg_pipeline.assets.liveness import close_abandoned_runs
from fimg_pipeline.assets.partitions import add_tag
from fimg_pipeline.assets.pipeline import Pipeline
from fimg_pipeline.automation.executor import MAX_CONCURRENT
from fimg_pipeline.automation.overview import write_now
from fimg_pipeline.automation.watching import Reader
from fimg_pipeline.cli.instance import WORKSPACE, open_instance
from fimg_pipeline.errors import FimgError, TransientError
from fimg_pipeline.settings import Settings

LOOPBACK: Final = "127.0.0.1"


def prepare(settings: Settings) -> str:
    """Makes the Dagster instance, with the configured tag as a partition; a line about it."""
    with open_instance(settings) as instance:
        add_tag(instance, settings.tag)
        return f"Dagster instance in {os.environ['DAGSTER_HOME']}, {MAX_CONCURRENT} builds at once"


def serve(settings: Settings, port: int) -> None:
    """Becomes ``dagster dev``: web server and daemon on loopback. The configured tag is a partition from the start.

    It works in a folder of its own: in the user's, Dagster would let ``.env`` win over flags and environment, and
    Python take files for modules.
    """
    if settings.steps == "containers":
        raise FimgError(
            "STEPS=containers: runs of `fimg ui` are no containers, beside which their steps could be some",
            hint="leave STEPS out; containers are the deployment's (docs/deployment.md)",
        )
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError as error:
            raise FimgError(f"port {port} can't be used: {error.strerror}", hint="choose another: --port") from None
    with open_instance(settings) as instance:
        # The daemon knows nothing of processes that ran under another one.
        close_abandoned_runs(instance)
        add_tag(instance, settings.tag)
        # A web UI that comes late is of less use than one that says how all stood.
        with suppress(TransientError):
            Reader().read(settings.home, lambda: write_now(instance, Pipeline()))
    arguments = ["dev", "--workspace", str(WORKSPACE), "--host", LOOPBACK, "--port", str(port)]
    print(f"begin at http://{LOOPBACK}:{port}/assets/overview: how everything stands, and what is where")
    sys.stdout.flush()
    folder = settings.home / "ui"
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    # Started in the background of a script, SIGINT comes ignored; Dagster would then ignore SIGTERM as well.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-m", "dagster", *arguments])
