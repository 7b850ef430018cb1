"""Running git: argument lists only, never a prompt, never a write to a repository of the user's."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from fimg_pipeline.errors import FimgError, TransientError

#: No prompts, no opportunistic index refresh in a repository we only read, English messages to recognise.
_ENVIRONMENT: Final[Mapping[str, str]] = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "SSH_ASKPASS": "true",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "LC_ALL": "C",
}
#: A repository's own configuration must not make reading it run programs, nor anybody's have git say other things.
_HARMLESS: Final = tuple(
    part
    for setting in (
        "core.fsmonitor=false",
        "core.hooksPath=/dev/null",
        "gc.auto=0",
        "log.showSignature=false",
        "log.follow=false",
    )
    for part in ("-c", setting)
)
#: Variables that would redirect git elsewhere when the pipeline itself is started from a hook.
_INHERITED: Final = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")

FETCH_TIMEOUT_SECONDS: Final = 900
#: For an answer that takes a moment.
ANSWER_TIMEOUT_SECONDS: Final = 30
#: The statuses with which timeout(1) says that it ended something.
_TIMED_OUT: Final = (124, 137)
#: A shell that keeps its standard input open, which nobody else does, until what it runs has ended; it says so when
#: that was ended because it took too long.
_HOLDING: Final = (
    "trap 'echo \"fatal: it did not finish within the time it has\" >&2' TERM; "
    '"$@" </dev/null & git=$!; wait $git; status=$?; wait $git 2>/dev/null; exit $status'
)


class GitError(FimgError):
    """git refused, or a repository is not what it has to be."""


class FetchError(GitError, TransientError):
    """A repository could not be reached; may pass."""


class AwayError(FetchError):
    """Nothing can be asked of a repository now."""


@dataclass(frozen=True)
class Git:
    """git in one repository. ``git_dir`` for one of ours, ``work_tree`` for a checkout of the user's.

    ``directory`` is where it runs, for paths relative to it.
    """

    git_dir: Path | None = None
    work_tree: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None

    def run(
        self, *arguments: str, stdin: bytes | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """The finished process, whatever its status; :class:`GitError` when git can't be started or takes too long."""
        command = [*self._command, *arguments]
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                # Without a terminal of its own ssh has nobody to ask, whatever it would like to know.
                start_new_session=True,
            )
        except FileNotFoundError:
            raise GitError("git is not installed", hint="apt-get install git") from None
        with process:
            try:
                stdout, stderr = process.communicate(stdin, timeout)
            except subprocess.TimeoutExpired:
                _end(process)
                raise FetchError(f"git {arguments[0]} did not finish within {timeout:.0f} s") from None
            except BaseException:
                _end(process)
                raise
        return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)

    def fetch(self, *arguments: str, patience: float | None, lock: int, errors: Path) -> int | None:
        """A fetch (``arguments`` with options before it), which may take long: its status.

        ``None`` when it did not end within ``patience`` seconds: then it goes on by itself, as long as it may. ``lock``
        (a descriptor) is held for as long as it lives, though not by what outlives it (git's cache of passwords);
        ``errors`` gets what it says.
        """
        command = [*self._command, *arguments]
        # In a session of its own, as in run(). A pipe for what it says would end it when nobody reads that any more.
        with errors.open("wb") as said:
            try:
                process = subprocess.Popen(
                    ["timeout", "--kill-after=10", str(FETCH_TIMEOUT_SECONDS), "sh", "-c", _HOLDING, "sh", *command],
                    stdin=lock,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    env=self._environment,
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise GitError("timeout(1) is not installed", hint="apt-get install coreutils") from None
        try:
            status = process.wait(patience)
        except subprocess.TimeoutExpired:
            return None
        except BaseException:
            _end(process)
            raise
        if status in _TIMED_OUT:
            raise FetchError(f"git fetch did not finish within {FETCH_TIMEOUT_SECONDS} s")
        return status

    @contextmanager
    def start(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """A running git to talk to over its pipes; ended when the block is left."""
        process = subprocess.Popen(
            [*self._command, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()

    @property
    def _command(self) -> list[str]:
        directory = self.directory or self.work_tree
        where = [] if directory is None else ["-C", str(directory)]
        return ["git", *where, *_HARMLESS]

    @property
    def _environment(self) -> dict[str, str]:
        environment = {name: value for name, value in os.environ.items() if name not in _INHERITED}
        environment |= {**_ENVIRONMENT, **self.environment}
        if self.git_dir is not None:
            environment["GIT_DIR"] = str(self.git_dir)
        if self.work_tree is not None:
            # A checkout owned by somebody else is normal here: builds run as root, people clone as themselves.
            environment |= _safe_directory(self.work_tree)
        return environment

    def output(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """Standard output; :class:`GitError` with git's own last words when it fails."""
        done = self.run(*arguments, stdin=stdin)
        if done.returncode != 0:
            raise GitError(f"git {' '.join(arguments[:2])}: {complaint(done.stderr)}")
        return done.stdout

    def text(self, *arguments: str) -> str | None:
        """Standard output as one stripped line, or ``None`` when git fails."""
        done = self.run(*arguments)
        return done.stdout.decode("utf-8", "replace").strip() if done.returncode == 0 else None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a git in a session of its own, with those it started: they would go on, and keep what they inherited."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _safe_directory(path: Path) -> dict[str, str]:
    """Lets git read a checkout owned by another user; ``-c`` is not enough for every git since 2.35."""
    names = dict.fromkeys((str(path), str(path.resolve())))
    entries = {f"GIT_CONFIG_KEY_{index}": "safe.directory" for index in range(len(names))}
    values = {f"GIT_CONFIG_VALUE_{index}": name for index, name in enumerate(names)}
    return {"GIT_CONFIG_COUNT": str(len(names)), **entries, **values}


def complaint(stderr: bytes) -> str:
    """The line of git's complaint that says what happened: its first error, what follows says what that led to."""
    lines = [line.strip() for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return errors[0] if errors else (lines or ["no message"])[-1]


def failure(stderr: bytes) -> str | None:
    """Git's complaint, if it was one: what else it says are warnings."""
    found = complaint(stderr)
    return found if found.startswith(("fatal:", "error:")) else None


def alternates(directories: Iterable[Path]) -> dict[str, str]:
    """Environment that lets git read objects from ``directories`` without copying or registering anything."""
    existing = [_quoted(str(path)) for path in directories if path.is_dir()]
    return {"GIT_ALTERNATE_OBJECT_DIRECTORIES": os.pathsep.join(existing)}


def _quoted(path: str) -> str:
    """A path with a colon in it as git wants it in a list of paths (git(1))."""
    if os.pathsep not in path and not path.startswith('"'):
        return path
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"') + '"'
