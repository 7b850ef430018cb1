"""Where images are published: which registry PREFIX names, how it is spoken to, and who logs in."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fimg_pipeline.engine.hub import DOCKER_HUB, registry_of
from fimg_pipeline.engine.logins import login_for
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship.registry import Login, Registry
from fimg_pipeline.ship.transport import is_loopback

#: Where Docker's engine looks for the CA of a registry.
_CERTIFICATES: Final = Path("/etc/docker/certs.d")
#: The hub by the name under which Docker keeps the login for it, and where it answers.
_HUB: Final = "docker.io"
_HUB_URL: Final = "https://registry-1.docker.io"
_CONNECT_SECONDS: Final = 10


@dataclass(frozen=True)
class Destination:
    """A registry and the namespace in it."""

    registry: Registry
    namespace: str

    def repository(self, image: str) -> str:
        """What the registry calls the repository of ``image`` (``fateflow``)."""
        return f"{self.namespace}/{image}"

    def page(self, image: str) -> str:
        """Where a browser shows what the registry has of ``image``: the hub's page, or what registries answer."""
        if self.registry.host == _HUB:
            return f"https://hub.docker.com/r/{self.repository(image)}/tags"
        return f"{self.registry.url}/v2/{self.repository(image)}/tags/list"


def destination(settings: Settings, log: Callable[[str], None]) -> Destination:
    """The registry that ``PREFIX`` names, with the login there is for it."""
    host = registry_of(f"{settings.prefix}/")
    if host == DOCKER_HUB:
        name, url, namespace = _HUB, _HUB_URL, settings.prefix
    else:
        scheme = "http" if _is_unencrypted(host, settings) else "https"
        name, url, namespace = host, f"{scheme}://{host}", settings.prefix.partition("/")[2]
    return Destination(Registry(name, url, _login(settings, name), _trust(settings, host), log), namespace)


def _is_unencrypted(host: str, settings: Settings) -> bool:
    """As Docker: one that is declared so, or one on loopback that does not speak TLS."""
    if host in settings.insecure_registries:
        return True
    name, _, port = host.partition(":")
    return is_loopback(name) and not _speaks_tls(name, int(port or 443))


def _speaks_tls(name: str, port: int) -> bool:
    context = ssl.create_default_context()
    # It is only asked what it speaks; whether it is trusted is found out later.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((name, port), _CONNECT_SECONDS) as plain, context.wrap_socket(plain):
            return True
    except OSError:
        return False


def _trust(settings: Settings, host: str) -> str | bool:
    """What vouches for a registry's certificate."""
    engines_own = _CERTIFICATES / host / "ca.crt"
    chosen = settings.registry_ca or (engines_own if engines_own.is_file() else settings.ca_bundle)
    return True if chosen is None else str(chosen)


def _login(settings: Settings, host: str) -> Login | None:
    """The settings' login, or the one ``docker login`` or a credential helper keeps for ``host``."""
    if settings.registry_user is not None:
        return Login(settings.registry_user, settings.registry_password or "")
    found = login_for(host)
    if not found:
        return None
    return Login(
        str(found.get("username") or found.get("Username") or ""),
        str(found.get("password") or found.get("Password") or ""),
        found.get("identitytoken") or found.get("IdentityToken") or None,
    )
