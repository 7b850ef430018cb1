"""``fimg``: the command line. Each verb is a thin shell; errors meant for people end it with one message."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import sqlite3
import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

import click
from rich.console import Console

from fimg_pipeline.cli.options import checked, containers, with_settings
from fimg_pipeline.errors import FimgError
from fimg_pipeline.plan.selection import Verb
from fimg_pipeline.settings import Settings, exported, load
from fimg_pipeline.values import choices, names, places

#: Errors of the machine's disks and permissions; any other that gets here is a bug.
_MACHINES_OWN: Final = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
#: The same, as SQLite says it.
_DATABASES_OWN: Final = re.compile(r"disk is full|readonly database|unable to open database|disk I/O error")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """FATE's source code as Docker images. Settings come from flags, the environment, `.env`, in that order."""


@main.command()
@with_settings
@click.option(
    "--image", "images", multiple=True, metavar="NAME", help="Plan this image (repeatable) and what it needs."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
def plan(settings: Settings, flags: dict[str, str], images: tuple[str, ...], as_json: bool) -> None:
    """Print what would be built, why, in which order, and what is up to date. Builds nothing."""
    from fimg_pipeline.cli.report import plan_as_json, print_plan
    from fimg_pipeline.engine.client import Engine
    from fimg_pipeline.planning import current_plan

    found = current_plan(settings, Engine(settings.engine_address), names=images, without_engine=True)
    if as_json:
        click.echo(json.dumps(plan_as_json(found), indent=2))
    else:
        print_plan(found, Console(width=None if sys.stdout.isatty() else 120))


@main.command()
@click.argument("verb", type=click.Choice([verb.value for verb in Verb]), default=Verb.ALL.value)
@click.option(
    "--image", "images", multiple=True, metavar="NAME", help="Build this image (repeatable) and what it needs."
)
@with_settings
def build(settings: Settings, flags: dict[str, str], verb: str, images: tuple[str, ...]) -> None:
    """Build what is stale, as a Dagster run that the web UI shows."""
    if images and Verb(verb) is not Verb.ALL:
        raise click.UsageError(f"--image names what is built: {verb} can't be said too")
    from fimg_pipeline.cli.build import build as build_images

    sys.exit(build_images(settings, flags, Verb(verb), images))


@main.command()
@with_settings
def push(settings: Settings, flags: dict[str, str]) -> None:
    """Push what the switches select to the registry of PREFIX: as TAG-PLATFORM, and TAG over all platforms."""
    from fimg_pipeline.cli.push import push as push_images

    sys.exit(push_images(settings, flags))


@main.command()
@with_settings
@click.option("--output", metavar="DIR", default="", help="Where the bundles' folder is made. Default: BUNDLE_DIR.")
@click.option(
    "--max-size",
    metavar="SIZE",
    callback=checked(choices.part_size),
    help="Split bundles into files of at most this: 2G, 700M.",
)
@click.option("--since", metavar="LOCK", default="", help="Leave out what the images of this images.lock.json have.")
@click.option(
    "--single", "singles", multiple=True, metavar="NAME", help="Write this image (repeatable) as a tar of its own too."
)
def save(
    settings: Settings, flags: dict[str, str], output: str, max_size: int | None, since: str, singles: tuple[str, ...]
) -> None:
    """Write the offline bundles of what the switches select, with what loads and verifies them."""
    from fimg_pipeline.cli.save import save as save_bundles

    sys.exit(save_bundles(settings, flags, output=output, part_size=max_size, since=since, singles=singles))


@main.command()
@click.option("-m", "mode", required=True, type=click.Choice(["center", "p2p"]), help="How Kuscia is deployed.")
@click.option(
    "-i", "image", required=True, metavar="IMAGE", help="The image: NAME[:TAG], of this engine or a registry."
)
@click.option("-u", "user", default="", metavar="USER", help="Who deployed Kuscia. Default: $USER.")
@click.option("-n", "name", default="", metavar="NAME", help="The AppImage's name. Default: after the image.")
@click.option("-d", "domains", default="alice,bob", show_default=True, metavar="DOMAINS", help="The nodes' domains.")
@click.option(
    "-f",
    "template",
    default="",
    metavar="TEMPLATE",
    help="A file, or general, fateflow, fate-client. Default: the image's.",
)
@click.option(
    "--container",
    "containers",
    multiple=True,
    callback=containers,
    metavar="DOMAIN=NAME",
    help="How the container of a domain (or of: master) is called, if not by convention (repeatable).",
)
@click.option("--pin", is_flag=True, help="Name the image's id in the AppImage: nodes refuse any other of that name.")
@click.option("--sign", default="", metavar="TEXT", help="The AppImage's image.sign, which Kuscia before 0.6 asks for.")
def register(image: str, **how: Any) -> None:
    """Load IMAGE into every node of a Kuscia deployment and register it as an AppImage."""
    from fimg_pipeline.cli.kuscia import register_image

    register_image(image, **how)


@main.command("kuscia-job")
@click.argument("file", metavar="JOB.yaml")
@click.option("--app-image", required=True, metavar="NAME", help="The AppImage the tasks are to run on.")
@click.option("--task", "tasks", multiple=True, metavar="ID", help="Only the task of this taskID (repeatable).")
def kuscia_job(file: str, app_image: str, tasks: tuple[str, ...]) -> None:
    """Print a KusciaJob's file (`-`: standard input) with spec.tasks[].appImage set and all else as it is."""
    from fimg_pipeline.cli.kuscia import print_job

    print_job(file, app_image, tasks)


@main.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="A JSON list, with every image, instead of what people read.")
def status(settings: Settings, flags: dict[str, str], as_json: bool) -> None:
    """Print how the images of the watched tags stand: built, stale and why, missing, failed, being built."""
    from fimg_pipeline.automation.status import as_json as encoded
    from fimg_pipeline.cli.status import print_status, statuses

    found = statuses(settings, flags)
    if as_json:
        click.echo(json.dumps(encoded(found), indent=2))
    else:
        print_status(found, Console(width=None if sys.stdout.isatty() else 160))


@main.command()
@with_settings
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of what people read.")
def doctor(settings: Settings, flags: dict[str, str], as_json: bool) -> None:
    """Look at what builds need (engine, disk, source, registries, nodes) and say how to mend what is wrong."""
    from fimg_pipeline.cli.doctor import findings, print_findings

    sys.exit(print_findings(findings(settings), Console(), as_json=as_json))


@main.command()
@click.option("--yes", "really", is_flag=True, help="Remove it; without this it is only listed.")
def prune(really: bool) -> None:
    """List, or remove, what is superseded: images, layers, bundles, tags nobody uses, old runs."""
    from fimg_pipeline.cli.prune import prune_superseded

    # Of all tags: with a flag for one the configured one would not be wanted any more.
    settings = load()
    os.environ.update(exported({}))
    sys.exit(prune_superseded(settings, Console(width=None if sys.stdout.isatty() else 160), really=really))


@main.group()
def tag() -> None:
    """The tags images are built under, and what of FATE each stands for."""


@tag.command()
@click.argument("name", metavar="TAG", callback=checked(names.tag))
@click.option(
    "--ref",
    callback=checked(places.git_ref),
    metavar="REF",
    help="A tag, branch or commit in FATE_DIR, or origin/BRANCH, followed where FATE_DIR was cloned from. "
    "Default: vX.Y.Z for X.Y.Z-release, else FATE_DIR as it stands.",
)
@with_settings
def add(settings: Settings, flags: dict[str, str], name: str, ref: str | None) -> None:
    """Add TAG, or have it stand for something else from now on."""
    from fimg_pipeline.cli import tags

    tags.print_tags([tags.add(settings, name, ref)], Console(width=None if sys.stdout.isatty() else 160))


@tag.command("list")
@click.option("--json", "as_json", is_flag=True, help="A JSON list instead of a table.")
@with_settings
def list_tags(settings: Settings, flags: dict[str, str], as_json: bool) -> None:
    """Print all tags and the commits they are at; the configured one (TAG) comes first."""
    from fimg_pipeline.cli import tags

    found = tags.listed(settings)
    if as_json:
        click.echo(json.dumps([tags.as_json(known) for known in found], indent=2))
    else:
        tags.print_tags(found, Console(width=None if sys.stdout.isatty() else 160))


@tag.command()
@click.argument("name", metavar="TAG")
@with_settings
def remove(settings: Settings, flags: dict[str, str], name: str) -> None:
    """Forget TAG. Images that were built under it stay."""
    from fimg_pipeline.cli import tags

    tags.remove(settings, name)


@main.command()
@with_settings
@click.option("--refresh", is_flag=True, help="Pull or bootstrap again even where the base is there.")
def bases(settings: Settings, flags: dict[str, str], refresh: bool) -> None:
    """Pull the external base images, or bootstrap equivalent ones where Docker Hub is out of reach."""
    from fimg_pipeline.engine.bases import ensure_bases
    from fimg_pipeline.engine.client import Engine

    for state in ensure_bases(settings, Engine(settings.engine_address), refresh=refresh, log=click.echo):
        click.echo(state)


@main.command()
@with_settings
def setup(settings: Settings, flags: dict[str, str]) -> None:
    """Prepare the Dagster instance; `make setup` runs it."""
    from fimg_pipeline.cli.serve import prepare

    click.echo(prepare(settings))


@main.command()
@with_settings
@click.option("--port", type=click.IntRange(1, 65535), default=3000, show_default=True)
def ui(settings: Settings, flags: dict[str, str], port: int) -> None:
    """Start the web UI and the daemon on loopback."""
    from fimg_pipeline.cli.serve import serve

    serve(settings, port)


@main.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="COMMAND...")
def execute(command: tuple[str, ...]) -> None:
    """Become COMMAND with the settings in its environment, as the deployment's containers do."""
    load()
    os.environ.update(exported({}))
    try:
        os.execvp(command[0], command)
    except OSError as error:
        raise FimgError(f"{command[0]} can't be run: {error.strerror}", hint="a program on PATH, or its path") from None


@main.command()
@click.argument("directory", type=click.Path(path_type=Path))
def sample(directory: Path) -> None:
    """Write the sample source: small git repositories in the shape of FATE, FATE-LLM and IPCL."""
    from fimg_pipeline.sample import create_sample

    created = create_sample(directory)
    click.echo(f"FATE_DIR={created.fate}")
    click.echo(f"FATE_LLM_URL={created.fate_llm}")
    click.echo(f"IPCL_PKG_DIR={created.ipcl}")


def _terminated(number: int, _frame: FrameType | None) -> None:
    """Ends the command as Ctrl-C does, so that what it made for a while (secrets, mounts) is removed."""
    sys.exit(128 + number)


def _hung_up(_number: int, _frame: FrameType | None) -> None:
    """The terminal is gone. Dagster ends a run in good order for signals it knows, of which this is none."""
    os.kill(os.getpid(), signal.SIGTERM)


def entry() -> None:
    """The console script: prints errors meant for people without a traceback and exits 1; usage errors exit 2."""
    # What a terminal has no letter for is no reason to say nothing.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    # Started in the background of a script, SIGINT comes ignored; but it is what Dagster has steps stopped by.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _terminated)
    # Unless a hang-up is to be outlived, as with nohup.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _hung_up)
    try:
        main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except FimgError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    except Exception as error:
        told = _machine_says(error)
        if told is None:
            raise
        click.echo(f"error: {told}", err=True)
        click.echo("  → free space and check permissions: of FIMG_HOME, and of where its output goes", err=True)
        sys.exit(1)


def _machine_says(error: BaseException | None) -> str | None:
    """What the machine's disks or permissions stand in the way of; ``None`` when it is something else, a bug."""
    if isinstance(error, OSError) and error.errno in _MACHINES_OWN:
        return f"{error.filename2 or error.filename or 'a file'}: {error.strerror}"
    if isinstance(error, sqlite3.OperationalError) and _DATABASES_OWN.search(str(error)):
        return f"Dagster's database: {error}"
    return None if error is None else _machine_says(error.__cause__)
