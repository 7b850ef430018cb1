"""Images from Docker Hub or the registry configured in its place (``DOCKER_HUB_MIRROR``), and from other registries.

An image is resolved to a digest first and pulled by it: the question costs one request, so an unreachable hub is
known in seconds, and pulling by digest leaves the user's own ``debian:bookworm-slim`` where it is.
"""

from __future__ import annotations

import queue
import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import docker.errors
import requests.exceptions

from fimg_pipeline.catalog.platforms import Platform, docker_platform
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.errors import FimgError, TransientError

DOCKER_HUB: Final = "Docker Hub"
_ASK_SECONDS: Final = 15.0
#: Docker reports progress several times a second; retries of a blocked download are silent for minutes.
_SILENCE_SECONDS: Final = 60.0

#: What an engine's message means, most telling first: pattern, whether a registry answered at all, what to say.
_MEANINGS: Final = (
    (re.compile(r"x509|certificate", re.I), True, "its certificate is not trusted by the engine"),
    (re.compile(r"toomanyrequests|too many requests|rate limit|\b429\b", re.I), True, "its rate limit is reached"),
    (re.compile(r"manifest unknown|not found|\b404\b|no matching manifest", re.I), True, "it doesn't have the image"),
    (re.compile(r"unauthorized|denied|authentication|forbidden|\b40[13]\b", re.I), True, "it denies access"),
    (re.compile(r"no such host|name resolution|server misbehaving", re.I), False, "its name can't be resolved"),
    (re.compile(r"connection refused", re.I), False, "connection refused"),
    (re.compile(r"timeout|timed out|deadline exceeded|request canceled", re.I), False, "no answer in time"),
    (re.compile(r"unreachable|no route|dial tcp|proxyconnect|\beof\b|reset by peer", re.I), False, "no connection"),
    (re.compile(r"http: server gave HTTP response to HTTPS", re.I), True, "it speaks http, the engine expects https"),
)

T = TypeVar("T")


class MirrorError(FimgError):
    """The configured mirror can't give a base image."""


class MirrorUnreachableError(MirrorError, TransientError):
    """The configured mirror doesn't answer."""


@dataclass(frozen=True)
class PullFailure:
    """Why a registry gave no image. ``answered`` is false when it could not be reached."""

    answered: bool
    reason: str

    def of(self, registry: str) -> str:
        """``Docker Hub can't be reached (its name can't be resolved)``."""
        verdict = "gives no image" if self.answered else "can't be reached"
        return f"{registry} {verdict} ({self.reason})"


@dataclass(frozen=True)
class Pulled:
    """An image that is on the engine now, without a name."""

    image_id: str
    digest: str


def mirrored(reference: str, mirror: str | None) -> str:
    """Where ``reference``, a name on Docker Hub, is pulled from.

    Docker puts ``library/`` before official images only when it talks to the hub itself; a mirror is asked literally.
    """
    if mirror is None:
        return reference
    if is_of_docker_hub(f"{mirror}/"):
        raise MirrorError(
            f"DOCKER_HUB_MIRROR={mirror} is no registry: Docker would take it for a namespace on Docker Hub",
            hint="write HOST:PORT or a host name with a dot",
        )
    name = reference if "/" in reference else f"library/{reference}"
    return f"{mirror.rstrip('/')}/{name}"


def is_of_docker_hub(reference: str) -> bool:
    """Whether Docker asks its hub for ``reference``, not a registry it names."""
    return registry_of(reference) == DOCKER_HUB


def registry_of(reference: str) -> str:
    """The registry a reference names (distribution/reference: a first part with '.' or ':', or localhost)."""
    first, slash, _ = reference.partition("/")
    return first if slash and (re.search(r"[.:]", first) or first == "localhost") else DOCKER_HUB


def failure(message: str) -> PullFailure:
    """What an engine's error message says about the registry."""
    for pattern, answered, reason in _MEANINGS:
        if pattern.search(message):
            return PullFailure(answered, reason)
    line = next((line.strip() for line in message.splitlines() if line.strip()), "no message")
    return PullFailure(True, line if len(line) <= 120 else f"{line[:119]}…")


def mirror_error(reference: str, mirror: str, problem: PullFailure) -> MirrorError:
    """A configured mirror was chosen for a reason: what it doesn't give is never taken from elsewhere in silence."""
    kind = MirrorError if problem.answered else MirrorUnreachableError
    return kind(
        f"{reference}: {problem.of(f'the registry of DOCKER_HUB_MIRROR={mirror}')}",
        hint="mend the mirror (docker login, its name, its certificate), "
        "or leave DOCKER_HUB_MIRROR unset to use Docker Hub or a bootstrapped equivalent",
    )


def pull(
    engine: Engine,
    reference: str,
    platform: Platform,
    log: Callable[[str], None],
    *,
    login: Mapping[str, str] | None = None,
) -> Pulled | PullFailure:
    """Brings ``reference`` (``NAME:TAG`` or ``NAME@sha256:…``) for ``platform`` to the engine, without a name.

    Or says why the registry gives none. ``login``, in the SDK's words; default: what ``docker login`` keeps.
    """
    api: Any = engine.sdk.api
    try:
        found = watched(lambda _: api.inspect_distribution(reference, auth_config=login), _ASK_SECONDS)
        digest = str(found["Descriptor"]["digest"])
        if not _offers(found, platform):
            return PullFailure(True, f"it doesn't have the image for {platform}")
        repository = reference.partition("@")[0] if "@" in reference else reference.rpartition(":")[0]
        _free_digest(engine, f"{repository}@{digest}", platform)
        log(f"pulling {reference} for {platform} ({digest})")
        watched(lambda beat: _pull(engine, repository, digest, platform, login, beat), _SILENCE_SECONDS)
    except docker.errors.APIError as error:
        return failure(str(error.explanation or error))
    except (TimeoutError, requests.exceptions.Timeout):
        return PullFailure(False, "no answer in time")
    record = engine.inspect(f"{repository}@{digest}")
    if record is None or record["Architecture"] != platform:
        return PullFailure(True, f"it gave an image of another architecture than {platform}")
    return Pulled(str(record["Id"]), digest)


def digest_of(engine: Engine, reference: str, *, login: Mapping[str, str] | None = None) -> str | PullFailure:
    """The digest of ``reference`` in its registry now, or why that can't be said."""
    api: Any = engine.sdk.api
    try:
        found = watched(lambda _: api.inspect_distribution(reference, auth_config=login), _ASK_SECONDS)
        return str(found["Descriptor"]["digest"])
    except docker.errors.APIError as error:
        return failure(str(error.explanation or error))
    except (TimeoutError, requests.exceptions.Timeout):
        return PullFailure(False, "no answer in time")


def watched(task: Callable[[Callable[[], None]], T], seconds: float) -> T:
    """``task(beat)``'s result; ``TimeoutError`` when it neither ends nor calls ``beat`` for ``seconds``.

    The engine's own time limits add up to minutes. Its request is left to end by itself then.
    """
    events: queue.Queue[Callable[[], T] | None] = queue.Queue()

    def run() -> None:
        try:
            result = task(lambda: events.put(None))
        except Exception as error:
            failed = error

            def fail() -> T:
                raise failed

            events.put(fail)
        else:
            events.put(lambda: result)

    threading.Thread(target=run, daemon=True).start()
    while True:
        try:
            outcome = events.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError(f"nothing heard for {seconds:.0f} s") from None
        if outcome is not None:
            return outcome()


def _offers(distribution: dict[str, Any], platform: Platform) -> bool:
    """Whether a registry's answer covers ``platform``; images made by old tools don't say what they are for."""
    offered = {entry.get("architecture") for entry in distribution.get("Platforms") or ()} - {None, ""}
    return not offered or platform in offered


def _free_digest(engine: Engine, name: str, platform: Platform) -> None:
    """Takes the name by digest off the image of another platform, which keeps its tags.

    The digest is the whole list's, an engine has one image per name, and older ones refuse to pull a second
    ("Cannot overwrite digest").
    """
    record = engine.inspect(name)
    if record is not None and record["Architecture"] != platform and record["RepoTags"]:
        engine.remove(name)


def _pull(
    engine: Engine,
    repository: str,
    digest: str,
    platform: Platform,
    login: Mapping[str, str] | None,
    beat: Callable[[], None],
) -> None:
    api: Any = engine.sdk.api
    given = {"platform": docker_platform(platform), "auth_config": login}
    for event in api.pull(repository, tag=digest, stream=True, decode=True, **given):
        if "error" in event:
            raise docker.errors.APIError(str(event["error"]))
        beat()
