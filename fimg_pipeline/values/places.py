"""Where something is: paths, URLs, git repositories and refs, engines, proxies."""

from __future__ import annotations

import ipaddress
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

_REF_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_PATH_PATTERN: Final = re.compile(r"[\w./@+=~%-]+")
_URL_PATTERN: Final = re.compile(r"(?:https?|ssh|git|file)://[A-Za-z0-9._~:/@%?=&+,\[\]-]+")
_WEB_URL_PATTERN: Final = re.compile(r"https?://[A-Za-z0-9._~:/@%?=&+,\[\]-]+")
_WEB_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
#: Loopback and what RFC 1918 and RFC 4193 keep for private use.
_OWN_NETWORKS: Final = tuple(
    map(ipaddress.ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)
_SCP_PATTERN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[A-Za-z0-9._~/+-]+")
_ENGINE_PATTERN: Final = re.compile(
    r"unix:///[A-Za-z0-9._~/+-]+"
    r"|tcp://[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?:[0-9]{1,5}"
    r"|ssh://(?:[A-Za-z0-9_][A-Za-z0-9._-]*@)?[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?"
)
_APT_SOURCE_PATTERN: Final = re.compile(
    r"https?://[A-Za-z0-9._~:/@%+-]+ [A-Za-z0-9/][A-Za-z0-9._/-]*(?: [A-Za-z0-9][A-Za-z0-9._-]*)*"
)
_PROXY_PATTERN: Final = re.compile(r"(?:[a-z0-9]+://)?(?!-)[A-Za-z0-9._~:/@%?=&+,*\[\]-]+")
_MAX_PATH: Final = 4096
_MAX_COMPONENT: Final = 255
_MAX_REF: Final = 255


def path(text: str) -> Path:
    if len(text) > _MAX_PATH:
        raise ValueError(f"is too long: {len(text)} characters, at most {_MAX_PATH}")
    if any(len(part.encode()) > _MAX_COMPONENT for part in text.split("/")):
        raise ValueError(f"has a part that is too long: at most {_MAX_COMPONENT} bytes between slashes")
    try:
        path = Path(text).expanduser() if text.startswith("~") else Path(text)
    except RuntimeError:
        raise ValueError("names a user this machine does not have") from None
    if text.startswith("-") or not _PATH_PATTERN.fullmatch(str(path)):
        meant = f"is {path}, but " if text.startswith("~") else ""
        raise ValueError(
            f"{meant}must be a path of letters, digits and . / _ - @ + = % without spaces or shell characters"
        )
    if ".." in path.parts:
        raise ValueError("must not contain '..': write the path out")
    return path.absolute()


def git_ref(text: str) -> str:
    if len(text) > _MAX_REF or not _REF_PATTERN.fullmatch(text) or ".." in text or "//" in text:
        raise ValueError("must be a git tag, branch or commit such as v1.2.0")
    if text.endswith(("/", ".", ".lock")):
        raise ValueError("must be a git tag, branch or commit: it may not end in '/', '.' or '.lock'")
    return text


def url(text: str) -> str:
    if len(text) > _MAX_PATH or not _URL_PATTERN.fullmatch(text):
        raise ValueError("must be a URL such as https://host/path, without spaces or shell characters")
    if ".." in text.split("/"):
        raise ValueError("must not contain '..': write the URL out")
    return text


def web_url(text: str) -> str:
    """Where a package registry or a mirror is."""
    if not _WEB_URL_PATTERN.fullmatch(url(text)):
        raise ValueError("must be a URL that begins with http:// or https://")
    parts = urlsplit(text)
    if "@" in parts.path:
        raise ValueError("has an '@' in its path: a password with '/' has to be another one")
    if re.search(r"[\s'\"/@]", unquote(parts.netloc.rpartition("@")[0])):
        raise ValueError("has a user or password with a quote, '/', '@' or blank, which apt and others can't be told")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("has a port that is none: ports are 1 to 65535") from None
    if port == 0:
        raise ValueError("has the port 0: ports are 1 to 65535")
    if not host or not (_WEB_HOST.fullmatch(host) or _address(host)):
        raise ValueError("must name a host of letters, digits, '-', '_' and dots: https://host/path")
    return text


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _is_near(host: str) -> bool:
    """Whether a host is this machine, or an address that only exists within somebody's own network."""
    address = _address(host)
    return host == "localhost" or any(address in network for network in _OWN_NETWORKS if address is not None)


def proxy(text: str) -> str:
    """A proxy's address, or the list of hosts that need none; builds get it as it is."""
    if len(text) > _MAX_PATH or not _PROXY_PATTERN.fullmatch(text):
        raise ValueError("must be a URL or a list of hosts with commas, without spaces or shell characters")
    return text


def git_url(text: str) -> str:
    if text.startswith(("/", "~")):
        return str(path(text))
    if len(text) <= _MAX_PATH and _SCP_PATTERN.fullmatch(text) and ".." not in re.split("[:/]", text):
        return text
    try:
        return url(text)
    except ValueError:
        raise ValueError("must be a git URL (https://, ssh://, git://, user@host:path) or an absolute path") from None


def apt_source(text: str) -> str:
    if len(text) > _MAX_PATH or not _APT_SOURCE_PATTERN.fullmatch(text) or ".." in re.split("[ /]", text):
        raise ValueError(
            "must be an apt source: URL SUITE [COMPONENT…], such as https://host/cuda/repos/debian11/x86_64 /"
        )
    place = web_url(text.split(" ")[0])
    if place.startswith("http:") and not _is_near(urlsplit(place).hostname or ""):
        raise ValueError("must begin with https://, which vouches for what comes; http:// only to a private address")
    return text


def engine_address(text: str) -> str:
    """Where a Docker engine is, as ``DOCKER_HOST`` has it; it goes to docker's client and to ssh."""
    if len(text) > _MAX_PATH or not _ENGINE_PATTERN.fullmatch(text):
        raise ValueError("must be unix:///PATH, tcp://HOST:PORT or ssh://[USER@]HOST[:PORT]")
    return text


def service_urls(text: str) -> tuple[str, ...]:
    """URLs of services that messages are sent by, as Apprise has them: ``dingtalk://TOKEN``, ``json://HOST/PATH``."""
    found = tuple(text.split())
    if not all(re.fullmatch(r"[a-z0-9]+://\S+", each) for each in found):
        raise ValueError("must be URLs of Apprise, with spaces between them: dingtalk://TOKEN mailto://…")
    return found
