"""The ``flow`` command."""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

import click

from flow_client import __version__, settings

SETTINGS = Path(__file__).with_name("settings.yaml")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def flow_cli() -> None:
    """FATE Flow client."""


@flow_cli.command("init")
@click.option("--ip", required=True, help="Address of the FATE Flow server.")
@click.option("--port", required=True, type=int, help="Its HTTP port.")
def initialize(ip: str, port: int) -> None:
    """Remember where the server is."""
    settings.save(SETTINGS, ip, port)
    click.echo(json.dumps({"retcode": 0, "retmsg": "Fate Flow CLI has been initialized successfully."}))


@flow_cli.command("version")
@click.option("--server", is_flag=True, help="Ask the server for its versions instead.")
def version(server: bool) -> None:
    """Show the client's or the server's version."""
    if not server:
        click.echo(__version__)
        return
    configured = settings.load(SETTINGS)
    if not configured:
        sys.exit("not configured: run `flow init --ip … --port …`")
    url = "http://{ip}:{port}/{api_version}/version/get".format(**configured)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=10) as answer:
            click.echo(answer.read().decode())
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"no answer from {url}: {error}")
