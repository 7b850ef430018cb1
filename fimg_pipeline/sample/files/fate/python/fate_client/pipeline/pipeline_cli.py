"""The ``pipeline`` command."""

from pathlib import Path

import click
import yaml

from flow_client import settings

CONFIG = Path(__file__).with_name("config.yaml")


@click.group("Pipeline Config Tool")
def cli() -> None:
    """Configure the pipeline."""


@cli.command("init")
@click.option("--ip", required=True, help="Address of the FATE Flow server.")
@click.option("--port", required=True, type=int, help="Its HTTP port.")
def initialize(ip: str, port: int) -> None:
    """Remember where the server is."""
    settings.save(CONFIG, ip, port)
    click.echo("Pipeline configuration succeeded.")


@cli.group("config")
def config() -> None:
    """Look at the configuration."""


@config.command("show")
def show() -> None:
    """Print what was configured."""
    click.echo(yaml.safe_dump(settings.load(CONFIG)))
