"""What a failed build means: the line that says why, and whether the same build may pass later."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from fimg_pipeline.errors import FimgError, TransientError

#: Messages of apt, pip, npm, Maven and BuildKit when a network or registry did not answer properly.
_TRANSIENT: Final = re.compile(
    # A name that is not found may be one nobody has; most programs don't say, and a name server may be away.
    r"temporary failure (?:in name resolution|resolving)|could not resolve (?:host|'[^./'])|unknown ?host|enotfound"
    r"|no such host|name or service not known|connection (?:reset|refused|timed out)|i/o timeout"
    r"|tls handshake timeout|read timed out|\b(?:connect|read)timeout(?:error)?\b|newconnectionerror|remotedisconnected"
    r"|incompleteread|econnreset|etimedout|eai_again|network is unreachable|ssl.*unexpected.eof|tls.*unexpected eof"
    r"|failed to create endpoint"
    r"|(?:http error |status code:? |error code )(?:429|500|502|503|504)|too many requests"
    r"|hash sum mismatch|could not connect to|failed to fetch .*(?:\s5\d\d\s|connection)"
    r"|mirror sync in progress|could not handshake|unable to connect|408 request timeout"
    r"|premature end of (?:content-length|chunk)",
    re.IGNORECASE,
)
#: Errors of what is built: whatever their text says of networks, the same build fails again.
_DEFINITIVE: Final = re.compile(r"COMPILATION ERROR|cannot find symbol|\b(?:Syntax|Assertion|Name|Type)Error: ")
#: The engine itself went away: nothing is known about the build.
_ENGINE_GONE: Final = re.compile(
    r"cannot connect to the docker daemon|error reading from server: EOF|rpc error: code = Unavailable|"
    r"error during connect|is the docker daemon running",
    re.IGNORECASE,
)
#: What only the engine's owner can mend, with how.
_ENGINES_OWN: Final = (
    (
        re.compile(r"no space left on device|\bENOSPC\b", re.IGNORECASE),
        "the engine's disk is full: `docker system df` says of what, `docker builder prune` frees its build cache",
    ),
    (
        re.compile(r"failed to prepare \w+: .*no such file or directory|parent snapshot \S+ does not exist"),
        "the engine's build cache is damaged: `docker builder prune --all` makes it start anew",
    ),
)
_PREFIX: Final = re.compile(r"^#\d+ (?:\d+\.\d+ )?")
_TELLING: Final = re.compile(
    r"(?:^|\s)(?:E: |ERROR[: ]|fatal[: ]|\[emerg\]|\[fatal\]|\[ERROR\]|npm ERR!)|\w+Error: ", re.IGNORECASE
)
#: Lines that only announce or repeat: BuildKit's last one, Maven's first. The reason stands elsewhere.
_WRAPPER: Final = re.compile(
    r"^sha256:[0-9a-f]{64}|^(?:DONE|CACHED)\b|executor failed running.*\]: exit code|did not complete successfully"
    r"|failed to solve|^-{4,}$|^> \["
    r"|Some problems were encountered while processing|^See 'docker .*--help'"
)
_BECAUSE: Final = "╰─▶"
#: As uv and others say it, in whichever version.
_CAUSES: Final = ("Caused by:", "cause:")
_REASON_LENGTH: Final = 400
_TAIL: Final = 15


class BuildError(FimgError):
    """A build ended with an error that will come again."""


class TransientBuildError(TransientError):
    """A build failed in a way that can pass: a registry did not answer, the engine was restarted."""


def build_failure(what: str, status: int, log: Sequence[str]) -> FimgError:
    """The error for a build client that ended with ``status`` after printing ``log``."""
    lines = [_PREFIX.sub("", line).rstrip() for line in log]
    shown = "\n".join(f"    {line}" for line in [line for line in lines if line.strip()][-_TAIL:])
    index, reason = _reason(log)
    # What came before was overcome: a download that was tried again, say.
    ending = "\n".join(lines[index:])
    message = f"{what} failed (status {status}): {reason}\n{shown}"
    if status < 0:
        killed = f"{what}: the docker client was killed by signal {-status}"
        return TransientBuildError(killed, hint="build again; when memory ran out, with fewer builds at once")
    if engine_is_gone("\n".join(lines)):
        return TransientBuildError(message, hint="the Docker engine went away during the build; build again")
    if is_transient(ending):
        return TransientBuildError(
            message, hint="looks like a network problem; mirrors can be set, see docs/settings.md"
        )
    hint = (
        engines_own_hint(ending)
        or "the whole log of the build is what its step printed: its run's page in the web UI has it"
    )
    return BuildError(message, hint=hint)


def engine_is_gone(output: str) -> bool:
    """Whether what a client printed says that the engine went away."""
    return bool(_ENGINE_GONE.search(output))


def engines_own_hint(output: str) -> str | None:
    """What the engine's owner can do about what a client printed."""
    return next((hint for pattern, hint in _ENGINES_OWN if pattern.search(output)), None)


def is_transient(output: str) -> bool:
    """Whether what a program printed tells of a network or registry that did not answer properly."""
    return bool(_TRANSIENT.search(output)) and not _DEFINITIVE.search(output)


def first_error_line(log: Sequence[str]) -> str:
    """The first line that says what went wrong, with what belongs to it, else the last one with text."""
    return _reason(log)[1]


def _reason(log: Sequence[str]) -> tuple[int, str]:
    """Where the reason begins in ``log``, and what it says."""
    texts = [(index, _PREFIX.sub("", line).strip()) for index, line in enumerate(log)]
    texts = [(index, text) for index, text in texts if text]
    reasons = [(index, text) for index, text in texts if not _WRAPPER.search(text)] or texts
    for position, (index, text) in enumerate(reasons):
        if _TELLING.search(text):
            return index, _continued(text, [after for _, after in reasons[position + 1 :]])
    return reasons[-1] if reasons else (0, "no output")


def _continued(line: str, following: Sequence[str]) -> str:
    """``line`` with those after it that say what it leaves open: uv names packages and addresses only there."""
    for text in following:
        if not (line.endswith(":") or text.startswith((_BECAUSE, *_CAUSES))) or len(line) + len(text) > _REASON_LENGTH:
            break
        line = f"{line} {text.removeprefix(_BECAUSE).strip()}"
    return line
