"""``fimg register`` and ``fimg kuscia-job``: an image as an AppImage, and the jobs that run on one."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.kuscia import templates
from fimg_pipeline.kuscia.deployment import Deployment, DeploymentError, Mode, domains_of
from fimg_pipeline.kuscia.image import engine_image
from fimg_pipeline.kuscia.job import JobError, with_app_image
from fimg_pipeline.kuscia.reference import parse
from fimg_pipeline.kuscia.request import Request, perform
from fimg_pipeline.settings import load
from fimg_pipeline.ship.layers import LayerStore


def register_image(
    image: str,
    *,
    mode: str,
    user: str,
    name: str,
    domains: str,
    template: str,
    containers: Mapping[str, str],
    pin: bool,
    sign: str,
) -> None:
    """Registers ``image`` on the nodes of a deployment, and prints how far it is."""
    request = Request(
        parse(image),
        Deployment(Mode(mode), user or _user(), domains_of(domains), containers),
        name,
        templates.find(template, Path()) if template else None,
        pin,
        sign,
    )
    # What it is called has to be known to be right before anything is asked.
    app_image = request.app_image
    settings = load()

    def found(platform: Platform) -> tuple[Engine, str]:
        engine = Engine(replace(settings, platform=platform).engine_address)
        return engine, engine_image(request.image, platform, settings, engine, _say)

    click.echo(f"=> register app image: {image}")
    perform(
        request,
        Engine(),
        LayerStore(settings.home / "store"),
        found,
        _say,
    )
    click.echo(f"=> finish registering app image: {image}")
    click.echo(f"=> app_image_name: {app_image}")


def _say(line: str) -> None:
    click.echo(f"=> => {line}")


def _user() -> str:
    """Who deployed Kuscia unless told otherwise: whoever calls, as ``$USER`` has it; cron and services don't."""
    found = os.environ.get("USER")
    if found:
        return found
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise DeploymentError("who deployed Kuscia is not known here", hint="-u USER") from None


def print_job(file: str, app_image: str, tasks: Sequence[str]) -> None:
    """Prints the job of ``file`` (``-``: standard input) with its tasks on ``app_image``, byte for byte else."""
    name = "standard input" if file == "-" else file
    try:
        content = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        done = with_app_image(content.decode("utf-8"), app_image, tasks)
    except UnicodeDecodeError:
        raise JobError(f"{name} is no text in UTF-8", hint="save it as UTF-8") from None
    except OSError as error:
        raise JobError(f"{name} can't be read: {error.strerror}", hint="a file with the job, or -") from None
    except JobError as error:
        raise JobError(f"{name}: {error.message}", hint=error.hint) from None
    click.echo(done.encode(), nl=False)
