"""Requests to a registry and their answers: what may pass, what can't, and what an answer may hold."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import requests

from fimg_pipeline.errors import TransientError
from fimg_pipeline.ship.layers import ShipError

#: Seconds to connect, and to wait for an answer: registries verify a layer before they answer to its end.
_TIMEOUT: Final = (15, 300)
#: More than any manifest, token or error has; registries take manifests of 4 MB.
_LARGEST_ANSWER: Final = 8 << 20
#: requests' way of saying that no proxy is between, whatever the environment says.
_DIRECT: Final = {"http": "", "https": ""}
_TOLD: Final = 200


class RegistryError(ShipError):
    """A registry refused, and will again."""


class GivenUpError(RegistryError):
    """Somebody interrupted it."""


class RegistryUnreachableError(RegistryError, TransientError):
    """A registry did not answer properly, however often it was asked; may pass."""

    def __init__(
        self, message: str, *, hint: str | None = None, status: int | None = None, after: float | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        #: What it answered, if it did.
        self.status = status
        #: Seconds after which it wants to be asked again.
        self.after = after


@dataclass(frozen=True)
class Answer:
    """``url``: where it came from in the end; ``login``: the authorization it was asked with."""

    status: int
    headers: Mapping[str, str]
    url: str
    login: str | None
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name) or ""


class Transport:
    """Requests to ``host``. ``verify`` is as of requests: a CA bundle, or true. Used by several threads at once."""

    def __init__(self, host: str, verify: str | bool) -> None:
        self._host = host
        self._verify = verify
        self._local = threading.local()
        self._given_up = threading.Event()

    def give_up(self) -> None:
        """Ends what other threads are doing here: for good, and soon."""
        self._given_up.set()

    def require_wanted(self) -> None:
        """:class:`GivenUpError` after :meth:`give_up`."""
        if self._given_up.is_set():
            raise GivenUpError("interrupted")

    def wait(self, seconds: float) -> None:
        """Waits, unless somebody gives up meanwhile."""
        self._given_up.wait(seconds)

    def exchange(self, method: str, url: str, **options: Any) -> Answer:
        """A request and its answer, which is read whole: it is small, or none of a registry's."""
        self.require_wanted()
        try:
            with self._session.request(
                method,
                url,
                timeout=_TIMEOUT,
                verify=self._verify,
                stream=True,
                proxies=dict(_DIRECT) if is_loopback(urlsplit(url).hostname or "") else None,
                **options,
            ) as answer:
                body = bytearray()
                for piece in answer.iter_content(1 << 16):
                    body += piece
                    if len(body) > _LARGEST_ANSWER:
                        raise RegistryError(f"{self._host} answers with more than {_LARGEST_ANSWER >> 20} MB")
                login = answer.request.headers.get("Authorization")
                return Answer(answer.status_code, answer.headers, str(answer.url), login, bytes(body))
        except requests.exceptions.SSLError as error:
            if "WRONG_VERSION_NUMBER" in str(error):
                raise RegistryError(
                    f"{self._host} speaks no TLS", hint=f"INSECURE_REGISTRIES={self._host}, if that is as it should be"
                ) from None
            raise RegistryError(
                f"{self._host}: its certificate is not trusted here: {_reason(error)}",
                hint="REGISTRY_CA names the CA it is signed by (PEM)",
            ) from None
        except (
            requests.exceptions.ConnectionError,
            requests.exceptions.Timeout,
            requests.exceptions.ChunkedEncodingError,
        ) as error:
            raise RegistryUnreachableError(
                f"{urlsplit(url).netloc} can't be reached, or ended the connection: {_reason(error)}",
                hint="is it up, and is PREFIX right? behind a proxy: HTTPS_PROXY, NO_PROXY",
            ) from None
        except (requests.exceptions.RequestException, ValueError) as error:
            # Redirects without end, addresses that are none.
            raise RegistryError(f"{self._host} can't be spoken to: {_reason(error)}") from None

    @property
    def _session(self) -> requests.Session:
        """One for each thread: requests does not promise that several may use one."""
        found: requests.Session | None = getattr(self._local, "session", None)
        if found is None:
            found = self._local.session = _Session()
            # Logins are ours to choose, not those of ~/.netrc.
            found.auth = _no_authorization
        return found


class _Session(requests.Session):
    """Takes logins off on the way to another host, and adds none of ``~/.netrc`` there."""

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        if self.should_strip_auth(str(response.request.url), str(prepared_request.url)):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


def is_loopback(name: str) -> bool:
    """Whether a host's name or address is this machine itself."""
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def parts_of(url: str) -> SplitResult | None:
    """A URL's parts; ``None`` when it is none."""
    try:
        parts = urlsplit(url)
        return parts if parts.port is None or parts.hostname else None
    except ValueError:
        return None


def _no_authorization(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _reason(error: Exception) -> str:
    """The innermost of the errors urllib3 and requests wrap around each other."""
    inner: Any = error
    while True:
        following = getattr(inner, "reason", None) or (inner.args[0] if inner.args else None)
        if not isinstance(following, Exception):
            system = inner.__cause__
            # Without what the libraries say around it.
            said = system.strerror if isinstance(system, OSError) and not isinstance(system, ssl.SSLError) else None
            return one_line(said or str(following or inner))
        inner = following


def one_line(text: str) -> str:
    """What others say, as a line of a message shows it."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())[:_TOLD]
