"""The way to an engine: where it is, with which certificates, and what to mend when it lets nobody in."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path
from typing import Any, Final

import docker
import docker.errors
import requests.exceptions
import requests.utils
from docker.constants import MINIMUM_DOCKER_API_VERSION

from fimg_pipeline.engine.errors import EngineError, EngineUnreachableError
from fimg_pipeline.engine.logins import logins

#: So long (seconds) an answer of the engine may take.
API_TIMEOUT_SECONDS: Final = 120
_LOCAL: Final = "unix:///var/run/docker.sock"
_SCHEMES: Final = ("unix://", "tcp://", "ssh://")
_TLS: Final = ("DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")
_CERTIFICATES: Final = ("ca.pem", "cert.pem", "key.pem")
_TLS_HINT: Final = f"set DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH to a folder with {', '.join(_CERTIFICATES)}"


class Connection:
    """To the engine at ``address``, or as the environment names it."""

    def __init__(self, address: str | None = None) -> None:
        self._given = address

    @property
    def address(self) -> str:
        """Where it is."""
        return self._given or os.environ.get("DOCKER_HOST") or _LOCAL

    @property
    def _named_by(self) -> str:
        """The variable that says where it is: whoever mends another mends nothing."""
        return "DOCKER_HOST" if not self._given else "DOCKER_HOST_AMD64, or DOCKER_HOST_ARM64,"

    @property
    def environment(self) -> dict[str, str]:
        """Of the processes that speak to it."""
        own = {**os.environ, "DOCKER_HOST": self.address}
        # Nor would docker's client take the socket where they are set and nothing else.
        return own if self.address.startswith("tcp:") else {k: v for k, v in own.items() if k not in _TLS}

    def open(self) -> docker.DockerClient:
        """The SDK's client, which the engine has answered; :class:`EngineError` with what to mend where none does."""
        if not self.address.startswith(_SCHEMES) or self.address in _SCHEMES:
            # The SDK would take it for a host, or for the one it is used to.
            raise EngineError(
                f"{self.address} is no address of an engine",
                hint=f"{self._named_by} is to be one, which begins with {', '.join(_SCHEMES)}",
            )
        if self.address.startswith("tcp:") and not re.search(r":[0-9]+(/|$)", self.address):
            raise EngineError(
                f"{self.address} is no address of an engine: it has no port",
                hint=f"{self._named_by} is to be one: 2376 with TLS, most often, or 2375",
            )
        try:
            with contextlib.closing(self._connected(MINIMUM_DOCKER_API_VERSION)) as asking:
                found: Any = asking.version(api_version=False)
            return self._connected(str(found["ApiVersion"]))
        except docker.errors.TLSParameterError as error:
            raise self._untrusted(str(error.msg)) from None
        except (KeyError, ValueError, TypeError, AttributeError, docker.errors.InvalidConfigFile) as error:
            logins()  # Says so, if it is these that the SDK can't read.
            raise EngineError(
                f"{self.address} is no address of an engine: {error}", hint=f"{self._named_by} is to be one"
            ) from None
        except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
            raise self._unreachable(str(error)) from None

    def _connected(self, version: str) -> docker.DockerClient:
        """A client that speaks ``version`` of the API. Nothing is asked yet."""
        # As docker's client does: with the ssh that people have set up.
        client = docker.from_env(
            version=version,
            timeout=API_TIMEOUT_SECONDS,
            environment=self.environment,
            use_ssh_client=self.address.startswith("ssh:"),
        )
        # Or the CAs that the environment has for everything else would take the place of the engine's own.
        client.api.trust_env = False
        client.api.proxies.update(requests.utils.get_environ_proxies(client.api.base_url))
        return client

    def _untrusted(self, told: str) -> EngineError:
        """What is wrong with our certificates, as far as that can be seen."""
        folder = Path(os.environ.get("DOCKER_CERT_PATH") or Path.home() / ".docker")
        lacking = [name for name in _CERTIFICATES if not os.access(folder / name, os.R_OK)]
        why = f"{folder} has no {', '.join(lacking)} that can be read" if lacking else told
        return EngineError(f"the certificates for {self.address} can't be used: {why}", hint=_TLS_HINT)

    def _unreachable(self, told: str) -> EngineError:
        """Why an engine does not let us in, by what was ``told``, and what to do about it."""
        if "certificate" in told.lower():
            return EngineError(f"the engine at {self.address} and we don't trust each other: {told}", hint=_TLS_HINT)
        if "HTTP request to an HTTPS server" in told:
            return EngineError(f"the engine at {self.address} speaks TLS alone", hint=_TLS_HINT)
        if self.address.startswith("ssh:"):
            return EngineUnreachableError(
                f"no Docker engine answers ({self.address})",
                hint=f"`docker --host {self.address} version` has to work without being asked anything",
            )
        if "permission denied" in told.lower() and self.address.startswith("tcp:"):
            return self._untrusted(told)
        if "permission denied" in told.lower():
            return EngineError(
                "the Docker engine's socket is not yours to use", hint="join the docker group, or run as root"
            )
        if not self.address.startswith(("unix:", "npipe:")):
            return EngineUnreachableError(
                f"no Docker engine answers ({self.address})",
                hint=f"start it there, or set {self._named_by} to where one is",
            )
        return EngineUnreachableError(
            f"no Docker engine answers ({self.address})",
            hint="start it, or let `make setup` install one"
            if self.address == _LOCAL
            else f"start it, or set {self._named_by} to where one is",
        )
