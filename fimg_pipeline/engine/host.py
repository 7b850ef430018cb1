"""Commands on the machine the pipeline runs on. Whatever takes root is the engine's to do."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fimg_pipeline.engine.failures import is_transient
from fimg_pipeline.errors import FimgError, TransientError
from fimg_pipeline.values.masking import redacted

_TAIL_LINES: Final = 15


class HostError(FimgError):
    """The machine lacks something, or a command on it failed."""


class TransientHostError(HostError, TransientError):
    """A command failed in a way that can pass: a mirror did not answer."""


def run_logged(
    command: Sequence[str],
    log: Path,
    *,
    what: str,
    hint: str | None = None,
    environment: Mapping[str, str] | None = None,
    fetches: bool = False,
) -> None:
    """Runs ``command`` with its output appended to ``log``; a failure quotes the end of what it wrote.

    ``fetches``: it asks a network, whose failures can pass.
    """
    with log.open("ab") as output:
        start = output.tell()
        finished = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            check=False,
        )
    if finished.returncode != 0:
        written = log.read_bytes()[start:].decode(errors="replace")
        can_pass = fetches and is_transient(written)
        raised = TransientHostError if can_pass else HostError
        raise raised(f"{what} failed (exit {finished.returncode}):\n{tail(written)}", hint=hint)


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """The last non-empty lines of ``text``, indented, without the passwords of mirror URLs."""
    kept = [line for line in redacted(text).splitlines() if line.strip()][-lines:]
    return "\n".join(f"    {line}" for line in kept)
