"""The ``fate_test`` command."""

import json
import sys
from pathlib import Path
from typing import Tuple

import click

SUITES = "*testsuite.json"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Tools for testing FATE."""


@cli.command("suite")
@click.option("-i", "--include", "folders", required=True, multiple=True, type=click.Path(exists=True, file_okay=False))
@click.option("--yes", is_flag=True, help="Don't ask before the start.")
def suite(folders: Tuple[str, ...], yes: bool) -> None:
    """Check the suites below the given folders: every job's configuration has to be there and readable."""
    suites = sorted(path for folder in folders for path in Path(folder).rglob(SUITES))
    if not suites:
        sys.exit(f"no {SUITES} below {', '.join(folders)}")
    if not yes:
        click.confirm(f"{len(suites)} suites found. Start?", abort=True)
    failed = 0
    for path in suites:
        for name, job in json.loads(path.read_text(encoding="utf-8")).get("tasks", {}).items():
            conf = path.parent / job["conf"]
            try:
                json.loads(conf.read_text(encoding="utf-8"))
                click.echo(f"{path.name}: {name}: success")
            except (OSError, ValueError) as error:
                failed += 1
                click.echo(f"{path.name}: {name}: failed: {error}")
    sys.exit(1 if failed else 0)
