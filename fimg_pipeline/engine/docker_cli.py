"""Docker's own client, for what the SDK has no words for: builds by BuildKit, and images as an archive.

It is run with an argument list, a build's context on its standard input.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from fimg_pipeline.engine.errors import EngineError, EngineUnreachableError
from fimg_pipeline.engine.failures import build_failure, engine_is_gone, engines_own_hint
from fimg_pipeline.values.build_options import PROXY_VARIABLES
from fimg_pipeline.values.masking import without_credentials

_LOG_KEPT: Final = 400
#: Variables by which the client itself is steered: a build argument of that name is no secret, and must not steer it.
_CLIENTS_OWN: Final = re.compile(r"PATH|HOME|TMPDIR|(?:DOCKER|BUILDKIT|BUILDX|SSL|LD|GO)\w*")
_PROXY_VARIABLES: Final = (*PROXY_VARIABLES, *(name.lower() for name in PROXY_VARIABLES))


def find() -> str:
    """A client that can build with BuildKit: one with the buildx plugin, or one that has it built in."""
    tried: list[str] = []
    for folder in dict.fromkeys((*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin")):
        candidate = shutil.which("docker", path=folder)
        if candidate is None or candidate in tried:
            continue
        if _builds_with_buildkit(candidate):
            return candidate
        tried.append(candidate)
    raise EngineError(
        "no docker client that can build with BuildKit was found"
        + (f" ({', '.join(tried)} lacks the buildx plugin)" if tried else ""),
        hint="install docker-buildx (or docker.io, whose client has BuildKit built in)",
    )


def build_arguments(client: str, dockerfile: str, platform: str, build_args: Mapping[str, str]) -> list[str]:
    """Of a build for ``platform`` (``linux/amd64``), but for where the result goes."""
    arguments = [client, "build", "--progress=plain", f"--platform={platform}", f"--file={dockerfile}"]
    arguments += [f"--build-arg={name}={value}" for name, value in sorted(build_args.items())]
    # Only named, so that a proxy's password stays out of argument lists; BuildKit keeps them out of the image.
    return arguments + [f"--build-arg={name}" for name in _PROXY_VARIABLES if os.environ.get(name)]


def by_name(options: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The user's options with build arguments handed over by environment: their values may be passwords."""
    given: list[str] = []
    environment: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        argument, equals, content = value.partition("=")
        if name == "--build-arg" and equals and not _CLIENTS_OWN.fullmatch(argument):
            environment[argument] = content
            given.append(f"--build-arg={argument}")
        else:
            given.append(option)
    return given, environment


def build(
    arguments: Sequence[str],
    environment: Mapping[str, str],
    context: Iterable[bytes],
    what: str,
    log: Callable[[str], None],
) -> None:
    """Runs a build of ``context`` (a tar) to its end; a line it prints goes to ``log``, without passwords.

    Raises a :class:`~fimg_pipeline.engine.failures.BuildError`, transient or not, that calls it ``what``; and what
    making the context raised.
    """
    kept: deque[str] = deque(maxlen=_LOG_KEPT)
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**environment, "DOCKER_BUILDKIT": "1", "BUILDKIT_PROGRESS": "plain"},
    )
    assert process.stdin is not None and process.stdout is not None
    feeder = _Feeder(process, context)
    feeder.start()
    try:
        for raw in process.stdout:
            # Mirrors' passwords too: apt, for one, prints the URLs it was given.
            line = without_credentials(raw.decode("utf-8", "replace").rstrip("\n"))
            kept.append(line)
            log(line)
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        feeder.join()
        process.stdout.close()
    if feeder.error is not None:
        raise feeder.error
    if status != 0:
        raise build_failure(what, status, kept)


def failure(command: str, status: int, said: str) -> EngineError:
    """The error for a client's ``command`` that ended with ``status`` after it ``said`` something."""
    message = f"{command} ended with {status}: {without_credentials(said) or 'it said nothing'}"
    if engine_is_gone(said):
        return EngineUnreachableError(message, hint="the Docker engine went away; run it again")
    return EngineError(message, hint=engines_own_hint(said))


class _Feeder(threading.Thread):
    """Writes a context to the client's standard input while its output is read."""

    def __init__(self, client: subprocess.Popen[bytes], context: Iterable[bytes]) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._context = context
        self.error: Exception | None = None

    def run(self) -> None:
        assert self._client.stdin is not None
        # A broken pipe: the client ended early, and its output says why.
        with contextlib.suppress(BrokenPipeError), self._client.stdin as sink:
            try:
                for chunk in self._context:
                    sink.write(chunk)
            except BrokenPipeError:
                raise
            except Exception as error:
                # Closing would look like the end of the context: a build of half of it must not succeed.
                self._client.kill()
                self.error = error


def _builds_with_buildkit(client: str) -> bool:
    def output(*arguments: str) -> str | None:
        # No engine is asked: that of a context may be none at all.
        own = {**os.environ, "DOCKER_HOST": "unix:///var/run/docker.sock"}
        done = subprocess.run(
            [client, *arguments], env=own, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
        )
        return done.stdout if done.returncode == 0 else None

    if output("buildx", "version") is not None:
        return True
    version = re.match(r"Docker version (\d+)\.", output("--version") or "")
    return version is not None and 18 < int(version[1]) < 23
