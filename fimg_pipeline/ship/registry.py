"""A registry, spoken to by the distribution protocol (docs.docker.com/registry/spec/api, OCI distribution 1.0).

The engine is not asked to push: it compresses every layer again, slowly, and says little about what fails.
"""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import IO, Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

from requests.utils import parse_dict_header

from fimg_pipeline.ship.digests import digest_of
from fimg_pipeline.ship.transport import Answer, RegistryError, RegistryUnreachableError, Transport, one_line, parts_of

MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
MANIFEST_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
_ACCEPTED: Final = ", ".join(
    (
        MANIFEST,
        MANIFEST_LIST,
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.oci.image.index.v1+json",
    )
)
_ATTEMPTS: Final = 6
_FIRST_DELAY: Final = 1.0
_LONGEST_DELAY: Final = 60.0
#: What a registry or something before it says when it is overloaded or being restarted.
_PASSING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

T = TypeVar("T")


@dataclass(frozen=True)
class Login:
    """A user's name and password; or the token that ``docker login`` was given in the place of one."""

    user: str
    password: str
    identity_token: str | None = None

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


@dataclass(frozen=True)
class Described:
    """What a registry calls a descriptor: type, digest and size in bytes."""

    media_type: str
    digest: str
    size: int

    @property
    def document(self) -> dict[str, Any]:
        return {"mediaType": self.media_type, "size": self.size, "digest": self.digest}


class Registry:
    """One registry. ``verify`` is as of requests: a CA bundle, or true. Used by several threads at once."""

    def __init__(
        self, host: str, url: str, login: Login | None, verify: str | bool, log: Callable[[str], None]
    ) -> None:
        self.host = host
        self.url = url.rstrip("/")
        self._login = login
        self._log = log
        self._tokens: dict[str, str] = {}
        #: Whether a question has already been answered with 500 however often it was asked.
        self._fails_lastingly = False
        #: What all of it goes by; who gives it up ends what other threads are doing here.
        self.transport = Transport(host, verify)

    @property
    def user(self) -> str | None:
        """As whom it is spoken to."""
        return None if self._login is None else self._login.user

    def answers(self, repository: str) -> None:
        """Asks once for ``repository``, as whoever pushes to it; :class:`RegistryError` saying what is in the way."""
        self._ask("GET", repository, "tags/list?n=1", absent=True)

    # -- blobs -------------------------------------------------------------------------------------------------------

    def blob_problem(self, repository: str, described: Described) -> str | None:
        """Why ``repository`` does not have a blob as it should be, or ``None``."""
        found = self._head(repository, f"blobs/{described.digest}")
        return _blob_problem(repository, described, found)

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Has ``repository`` share a blob with ``source``; false when the registry would rather be sent it."""
        answer = self._retried(
            lambda _: self._ask(
                "POST", repository, f"blobs/uploads/?{urlencode({'mount': digest, 'from': source})}", other=source
            )
        )
        if answer.status == 202:
            # It opened an upload instead; nobody will use that one.
            with suppress(RegistryError):
                self._ask("DELETE", repository, self._location(answer), absent=True)
        return answer.status == 201

    def upload(self, repository: str, described: Described, content: Callable[[], IO[bytes]]) -> None:
        """Sends a blob. Interrupted, it begins anew, unless the registry turns out to have it."""

        def once(attempt: int) -> None:
            if attempt:
                found = self._ask("HEAD", repository, f"blobs/{described.digest}", absent=True)
                if _blob_problem(repository, described, found) is None:
                    return
            started = self._ask("POST", repository, "blobs/uploads/")
            place = self._location(started)
            with content() as file:
                self._ask(
                    "PUT",
                    repository,
                    _with_query(place, {"digest": described.digest}),
                    data=file,
                    headers={"Content-Type": "application/octet-stream"},
                )

        self._retried(once)

    # -- manifests ---------------------------------------------------------------------------------------------------

    def manifest_digest(self, repository: str, tag: str) -> str | None:
        """The digest of what ``tag`` (or a digest) names, or ``None``."""
        found = self._head(repository, f"manifests/{tag}")
        if found is None:
            return None
        return found.header("Docker-Content-Digest") or self._manifest(repository, tag).digest

    def described(self, repository: str, tag: str) -> Described | None:
        """The descriptor of what ``tag`` names, or ``None``."""
        return None if self._head(repository, f"manifests/{tag}") is None else self._manifest(repository, tag)

    def image_problems(self, repository: str, digest: str) -> list[str]:
        """What ``repository`` lacks of the image with the manifest ``digest``: its configuration and layers."""
        manifest = self._document(repository, f"manifests/{digest}")
        try:
            blobs = [
                Described(str(entry["mediaType"]), str(entry["digest"]), int(entry["size"]))
                for entry in (manifest["config"], *manifest["layers"])
            ]
        except (KeyError, TypeError, ValueError):
            return [f"{repository} has something else than an image in {digest}"]
        return [problem for problem in (self.blob_problem(repository, blob) for blob in blobs) if problem]

    def labels(self, repository: str, tag: str) -> dict[str, str] | None:
        """The labels of the image that ``tag`` names; ``None`` when it names none."""
        if self._head(repository, f"manifests/{tag}") is None:
            return None
        manifest = self._document(repository, f"manifests/{tag}")
        try:
            config = self._document(repository, f"blobs/{manifest['config']['digest']}")
            return dict(config["config"].get("Labels") or {})
        except (KeyError, TypeError, AttributeError, ValueError):
            # A list of several images, say.
            return {}

    def put_manifest(self, repository: str, tag: str, media_type: str, document: bytes) -> None:
        self._retried(
            lambda _: self._ask(
                "PUT", repository, f"manifests/{tag}", data=document, headers={"Content-Type": media_type}
            )
        )

    def _document(self, repository: str, path: str) -> Any:
        answer = self._retried(lambda _: self._ask("GET", repository, path))
        try:
            return json.loads(answer.body)
        except ValueError:
            raise RegistryError(f"{self.host} gives something else than JSON for {repository}/{path}") from None

    def _manifest(self, repository: str, tag: str) -> Described:
        answer = self._retried(lambda _: self._ask("GET", repository, f"manifests/{tag}"))
        media_type = answer.header("Content-Type").partition(";")[0] or MANIFEST
        return Described(media_type, digest_of(answer.body), len(answer.body))

    # -- asking ------------------------------------------------------------------------------------------------------

    def _head(self, repository: str, path: str) -> Answer | None:
        try:
            # One that fails at everything is soon found out by what it is sent.
            attempts = 1 if self._fails_lastingly else _ATTEMPTS
            found = self._retried(lambda _: self._ask("HEAD", repository, path, absent=True), attempts)
        except RegistryUnreachableError as error:
            # A registry whose disk was full may have written half of an entry, and fails at it until it is sent again.
            if error.status == 500:
                self._fails_lastingly = True
                return None
            raise
        return None if found.status == 404 else found

    def _ask(
        self,
        method: str,
        repository: str,
        path: str,
        *,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
        absent: bool = False,
        other: str | None = None,
    ) -> Answer:
        """One request. ``absent``: not found is an answer. ``other``: a repository that is read from, too."""
        url = path if "://" in path else f"{self.url}/v2/{repository}/{path}"
        scope = " ".join(
            [f"repository:{repository}:pull,push", *([] if other is None else [f"repository:{other}:pull"])]
        )
        answer = self._send(method, url, scope, data, headers)
        if answer.status == 401 and self._is_own(answer.url) and self._authenticate(answer, scope):
            if hasattr(data, "seek"):
                data.seek(0)
            answer = self._send(method, url, scope, data, headers)
        if answer.status == 404 and absent:
            return answer
        self._check(answer, repository)
        return answer

    def _send(self, method: str, url: str, scope: str, data: Any, headers: Mapping[str, str] | None) -> Answer:
        given = {"Accept": _ACCEPTED, **(headers or {})}
        # A registry may have its uploads go elsewhere, but not with what it was logged in to by.
        if scope in self._tokens and self._is_own(url):
            given["Authorization"] = self._tokens[scope]
        return self.transport.exchange(method, url, data=data, headers=given)

    def _check(self, answer: Answer, repository: str) -> None:
        status = answer.status
        if status < 400:
            return
        told = _errors(answer)
        if status in _PASSING:
            raise RegistryUnreachableError(
                f"{self.host} answers with {status}{told}", status=status, after=_seconds(answer.header("Retry-After"))
            )
        if status in (401, 403):
            who = "nobody is logged in" if self._login is None else f"as {self._login.user}"
            raise RegistryError(
                f"{self.host} denies access to {repository} ({status}, {who}){told}",
                hint=f"docker login {self.host}, or REGISTRY_USER and REGISTRY_PASSWORD",
            )
        if status == 404:
            raise RegistryError(
                f"{self.host} does not know {repository}{told}", hint="create the project there, or change PREFIX"
            )
        raise RegistryError(f"{self.host} refuses for {repository} ({status}){told}")

    # -- authentication (distribution: token authentication; RFC 7617) -------------------------------------------------

    def _authenticate(self, answer: Answer, scope: str) -> bool:
        """Gets what a 401 asks for; whether there is anything new to try."""
        kind, _, parameters = answer.header("WWW-Authenticate").partition(" ")
        if kind.lower() == "basic":
            offered = None if self._login is None else _basic(self._login)
        elif kind.lower() == "bearer":
            offered = f"Bearer {self._token(parse_dict_header(parameters), scope)}"
        else:
            return False
        if offered is None:
            return False
        self._tokens[scope] = offered
        # Compared with what this request had: another thread may have learnt it meanwhile.
        return answer.login != offered

    def _token(self, challenge: Mapping[str, str | None], scope: str) -> str:
        realm, service = challenge.get("realm") or "", challenge.get("service") or ""
        parts = parts_of(realm)
        if parts is None or parts.scheme not in ("https", "http"):
            raise RegistryError(f"{self.host} asks for a token from {one_line(realm)!r}, which is no URL")
        if parts.scheme == "http" and not self._is_own(realm):
            raise RegistryError(f"{self.host} wants the password to be sent unencrypted, to {one_line(realm)}")
        login = self._login
        if login is not None and login.identity_token is not None:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": login.identity_token,
                "service": service,
                "scope": scope,
                "client_id": "fimg",
            }
            answer = self.transport.exchange("POST", realm, data=form, allow_redirects=False)
        else:
            query = [*parse_qsl(parts.query), ("service", service), *(("scope", s) for s in scope.split())]
            place = urlunsplit(parts._replace(query=urlencode(query)))
            headers = {} if login is None else {"Authorization": _basic(login)}
            answer = self.transport.exchange("GET", place, headers=headers, allow_redirects=False)
        self._check(answer, scope.partition(":")[2].partition(":")[0])
        try:
            found = json.loads(answer.body)
            token = found.get("token") or found["access_token"]
        except (ValueError, KeyError, AttributeError):
            raise RegistryError(f"{one_line(realm)} gave something else than a token") from None
        return str(token)

    # -- trying again ------------------------------------------------------------------------------------------------

    def _retried(self, request: Callable[[int], T], attempts: int = _ATTEMPTS) -> T:
        """``request(attempt)``'s result; again, later and later, after what can pass."""
        for attempt in range(attempts):
            try:
                return request(attempt)
            except RegistryUnreachableError as error:
                if attempt == attempts - 1:
                    raise
                # Those who were refused together should not come back together, and nobody before he was asked to.
                delay = max(error.after or 0, _FIRST_DELAY * 2**attempt) * random.uniform(1.0, 1.3)
                delay = min(_LONGEST_DELAY, delay)
                self._log(f"{error.message}; trying again in {delay:.0f} s")
                self.transport.wait(delay)
        raise AssertionError("unreachable")

    def _is_own(self, url: str) -> bool:
        """Whether ``url`` is of the registry itself: what it was logged in to by goes nowhere else."""
        return urlsplit(url)[:2] == urlsplit(self.url)[:2]

    def _location(self, answer: Answer) -> str:
        given = answer.header("Location")
        parts = parts_of(urljoin(f"{self.url}/", given)) if given and parts_of(given) else None
        if parts is None or parts.scheme not in ("https", "http"):
            raise RegistryError(f"{self.host} does not say where an upload goes (Location: {one_line(given)!r})")
        if parts.scheme == "http" and self.url.startswith("https:"):
            # A registry behind a proxy that ends TLS often does not know it.
            parts = parts._replace(scheme="https")
        return urlunsplit(parts)


def _blob_problem(repository: str, described: Described, found: Answer | None) -> str | None:
    if found is None or found.status == 404:
        return f"{repository} lacks {described.digest}"
    length = found.header("Content-Length")
    if length.isascii() and length.isdigit() and int(length) != described.size:
        whole = f"{described.digest}, which has {described.size}"
        return f"{repository} has {length} bytes of {whole}: its storage is damaged"
    return None


def _seconds(retry_after: str) -> float | None:
    """How long a registry asks to wait: a number or a date (RFC 9110, section 10.2.3); ``None``: it does not say."""
    if retry_after.isascii() and retry_after.isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _basic(login: Login) -> str:
    return f"Basic {base64.b64encode(f'{login.user}:{login.password}'.encode()).decode()}"


def _with_query(url: str, more: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=urlencode([*parse_qsl(parts.query), *more.items()])))


def _errors(answer: Answer) -> str:
    """What a registry's answer says, on a line of its own making."""
    try:
        found = [str(error.get("message") or error.get("code")) for error in json.loads(answer.body)["errors"]]
    except (ValueError, KeyError, TypeError, AttributeError):
        found = []
    text = one_line("; ".join(found))
    return f": {text}" if text else ""
