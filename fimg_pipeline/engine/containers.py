"""Commands in running containers, by the docker client: without a terminal, their input and output as streams."""

from __future__ import annotations

import contextlib
import itertools
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any, Final

import docker.errors
import requests

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.errors import EngineError

#: So many lines at the end of a stream are told.
_LAST_LINES: Final = 2
#: ``2026-11-27 01:00:00.000 FATAL cmd/load.go:70 exit status 1``
_STATUS_AGAIN: Final = re.compile(r"\bFATAL\b.*\bexit status \d+\s*$")
#: More is no answer to anything that is asked.
_MOST_OUTPUT: Final = 16 << 20


class ContainerError(EngineError):
    """A container is not there, not running, or a command in it does not end."""


@dataclass(frozen=True)
class Done:
    """How a command ended: its status, what it printed, and what it said beside that (standard error)."""

    status: int
    output: str
    said: str

    @property
    def problem(self) -> str:
        """Why it failed, in its own words: the last line, or all of a list (``* ...``) that it ends with."""
        lines = [line.strip() for line in (self.said or self.output).splitlines() if line.strip()]
        listed = list(itertools.takewhile(lambda line: line.startswith("* "), reversed(lines)))
        # In one order: kubectl lists the fields that are missing in any.
        told = "; ".join(sorted(line.removeprefix("* ") for line in listed)) or (lines or ["it said nothing"])[-1]
        return f"it ended with {self.status}: {told}"

    @property
    def last_words(self) -> str:
        """The end of what it printed and said, for programs of which nobody knows where they say why.

        Kuscia hands on what `ctr` says as output, and the other way round, and ends with a line that only repeats the
        status.
        """
        found: list[str] = []
        for text in (self.output, self.said):
            lines = [line.strip() for line in text.splitlines() if line.strip() and not _STATUS_AGAIN.search(line)]
            found += lines[-_LAST_LINES:]
        return "; ".join(found) or "it said nothing"


@dataclass(frozen=True)
class Feed:
    """A command in a container that is written to."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    said: IO[bytes]

    def write(self, data: bytes) -> None:
        """:class:`BrokenPipeError` when the command reads no more; :meth:`end` says why."""
        assert self.process.stdin is not None
        rest = memoryview(data)
        while rest:
            rest = rest[self.process.stdin.write(rest) :]

    def end(self, seconds: float) -> Done:
        """Closes the command's input and waits for its end; :class:`ContainerError` when that takes longer."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ContainerError(f"the command has not ended within {seconds:.0f} s") from None
        return Done(status, _text(self.output), _text(self.said))

    def stop(self) -> None:
        """Ends the client at once; the command's input ends where it is."""
        self.process.kill()
        self.process.wait()


@dataclass(frozen=True)
class Container:
    """A container that runs, by its name."""

    engine: Engine
    name: str

    def run(self, command: Sequence[str], given: bytes = b"", *, seconds: float = 120) -> Done:
        """Runs a command that reads ``given``; :class:`ContainerError` when it has not ended in time."""
        with self.feed(command) as feed:
            try:
                feed.process.communicate(given, timeout=seconds)
            except subprocess.TimeoutExpired:
                raise ContainerError(
                    f"{self.name}: {command[0]} has not ended within {seconds:.0f} s, and may still do what it was to"
                ) from None
            return Done(feed.process.returncode, _text(feed.output), _text(feed.said))

    @contextmanager
    def feed(self, command: Sequence[str]) -> Iterator[Feed]:
        """Starts a command to write to. After the block its input has ended; what it does then is its own affair."""
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as said:
            process = subprocess.Popen(
                [self.engine.cli, "exec", "--interactive", self.name, *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=said,
                env=self.engine.environment,
                # What is written is on its way, and closing has nothing to wait for.
                bufsize=0,
            )
            feed = Feed(process, output, said)
            try:
                yield feed
            finally:
                if process.poll() is None:
                    feed.stop()
                with contextlib.suppress(BrokenPipeError):
                    assert process.stdin is not None
                    process.stdin.close()


def running(engine: Engine, name: str) -> Container:
    """The container called exactly ``name``, which has to run; :class:`ContainerError`."""
    try:
        # Docker takes the beginning of an id for a name, too.
        attributes: dict[str, Any] = engine.sdk.api.inspect_container(name)
    except docker.errors.NotFound:
        attributes = {}
    except docker.errors.APIError as error:
        raise ContainerError(f"container {name}: {error.explanation or error}") from None
    except requests.exceptions.RequestException as error:
        raise ContainerError(f"container {name}: the engine does not say what it is: {type(error).__name__}") from None
    if attributes.get("Name") != f"/{name}":
        raise ContainerError(f"there is no container {name}", hint="`docker ps --all` lists those there are")
    state = attributes["State"]["Status"]
    if state != "running":
        raise ContainerError(
            f"container {name} is {state}", hint=f"docker {'unpause' if state == 'paused' else 'start'} {name}"
        )
    return Container(engine, name)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read(_MOST_OUTPUT).decode("utf-8", "replace")
