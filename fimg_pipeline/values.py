"""How the values of settings are read: text to a checked value, or :class:`ValueError` saying what it must be.

Values end up in paths, image names and argument lists, so these grammars are narrow on purpose.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from fimg_pipeline.catalog.bases import LOCAL_NAMESPACE
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.platforms import Platform, as_platform

#: Docker's grammar for tags (distribution/reference).
TAG_PATTERN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: Parts of an image's name: a registry, and what is between slashes.
HOST: Final = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?"
)
COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PREFIX_PATTERN: Final = re.compile(rf"(?:{HOST}/)?{COMPONENT}(?:/{COMPONENT})*")
_IMAGE_PATTERN: Final = re.compile(
    rf"(?:{HOST}/)?{COMPONENT}(?:/{COMPONENT})*:{TAG_PATTERN.pattern}(?:@sha256:[0-9a-f]{{64}})?"
)
_REF_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_PATH_PATTERN: Final = re.compile(r"[\w./@+=~%-]+")
_URL_PATTERN: Final = re.compile(r"(?:https?|ssh|git|file)://[A-Za-z0-9._~:/@%?=&+,\[\]-]+")
_WEB_URL_PATTERN: Final = re.compile(r"https?://[A-Za-z0-9._~:/@%?=&+,\[\]-]+")
_WEB_HOST: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
#: Loopback and what RFC 1918 and RFC 4193 keep for private use.
_OWN_NETWORKS: Final = tuple(
    map(ipaddress.ip_network, ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"))
)
_STEERING: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/'\"]+@")
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

#: Longest repository name Docker accepts, host included.
MAX_NAME: Final = 255
_MAX_PATH: Final = 4096
_MAX_COMPONENT: Final = 255
_MAX_REF: Final = 255
#: A command line holds more, but not endlessly more.
_MAX_OPTIONS: Final = 16_384

#: Below it files would be split into more parts than anybody carries.
SMALLEST_PART: Final = 1 << 20

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
#: ``docker build`` options that make sense in ``Docker_Options``, with what their values have to look like (``None``:
#: no value). What the pipeline sets itself (tag, file, platform, output …) and what would change the meaning of the
#: context is left out on purpose.
BUILD_OPTIONS: Final[Mapping[str, str | None]] = {
    "--no-cache": None,
    "--add-host": r"[A-Za-z0-9._-]+[:=](?:[0-9.]+|\[?[0-9A-Fa-f:]+\]?|host-gateway)",
    "--build-arg": rf"{_NAME}(?:=.*)?",
    "--cache-from": r"[A-Za-z0-9][\w./:@=,-]*",
    "--label": r"[A-Za-z0-9][\w.-]*(?:=.*)?",
    "--network": r"default|host|none",
    "--shm-size": r"[0-9]+[bkmgBKMG]?",
    "--ssh": r"[A-Za-z0-9_-]+(?:=[\w./@+,=~%-]+)?",
    "--ulimit": r"[a-z]+=-?[0-9]+(?::-?[0-9]+)?",
}
#: What such options may not name, because plan and engine do.
_RESERVED: Final[Mapping[str, tuple[str, ...]]] = {
    "--build-arg": ("PARENT", "BASE_", "PACKAGE_", "SOURCE_DATE", "EXTRA_INDEXES", "SPARK_VERSION", "BUILDKIT_"),
    "--label": ("io.fimg.", "org.opencontainers.image."),
}
#: Build arguments BuildKit knows by itself and keeps out of images; also in lower case.
PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")
#: Options that change how an image is built but not what is in it.
NEUTRAL_OPTIONS: Final = frozenset({"--no-cache", "--cache-from", "--shm-size", "--ulimit", "--ssh"})


def redacted(text: str) -> str:
    """``text`` without what stands before the host of the URLs in it, or in their queries: names, passwords, tokens."""
    without = re.sub(r"(://)[^\s'\"]*@", r"\1***@", text)
    return re.sub(r"(://[^\s'\"?]*\?)[^\s'\"]+", r"\1***", without)


def without_credentials(line: str) -> str:
    """A line some program printed, without the credentials in its URLs; an ``@`` in a URL's path stays."""
    return _CREDENTIALS.sub("***@", line)


def printable(line: str) -> str:
    """A line somebody else wrote, without what would steer a terminal."""
    plain = _STEERING.sub("", line).replace("\t", " ")
    return "".join(letter for letter in plain if letter.isprintable()).strip()


def tag_problem(text: str) -> str | None:
    """Why ``text`` is no tag Docker would accept, or ``None``. Also the gate for partition keys."""
    if TAG_PATTERN.fullmatch(text):
        return None
    return "must be a Docker tag: 1 to 128 letters, digits, '_', '.', '-', not starting with '.' or '-'"


def tag(text: str) -> str:
    problem = tag_problem(text)
    if problem:
        raise ValueError(problem)
    return text


def prefix(text: str) -> str:
    # What the engine itself leaves out of names: `docker.io/a/b` is `a/b` there.
    text = re.sub(r"^(?:(?:index\.)?docker\.io/)+", "", text)
    if re.fullmatch(r"(?:index\.)?docker\.io", text):
        raise ValueError("names Docker Hub but no namespace there: write NAMESPACE")
    if text == "library" or text.startswith("library/"):
        raise ValueError("must not be library, Docker Hub's namespace for official images")
    if not _PREFIX_PATTERN.fullmatch(text):
        raise ValueError(
            "must be a namespace such as federatedai or HOST[:PORT]/NAMESPACE: "
            "lower-case letters, digits and single '.', '_', '-' between them"
        )
    if ":" in text.split("/")[0] and "/" not in text:
        raise ValueError("names a registry but no namespace: write HOST:PORT/NAMESPACE")
    first = text.split("/")[0]
    if not is_host(first) and not re.fullmatch(COMPONENT, first):
        raise ValueError(
            f"begins with {first}, which is no registry (no '.' or ':') and no namespace (lower case only)"
        )
    check_port(first)
    if text == LOCAL_NAMESPACE or text.startswith(f"{LOCAL_NAMESPACE}/"):
        raise ValueError(f"must not be {LOCAL_NAMESPACE}, where the pipeline keeps its own images")
    longest = max(len(alias) for image in IMAGES.values() for alias in (image.name, *image.aliases))
    if len(text) + 1 + longest > MAX_NAME:
        raise ValueError(f"is too long: image names may have {MAX_NAME} characters")
    return text


def is_host(first: str) -> bool:
    """Whether Docker takes the first part of a name for a registry's host (distribution/reference)."""
    return "." in first or ":" in first or first == "localhost"


def check_port(host: str) -> None:
    port = host.partition(":")[2]
    if port and not 0 < int(port) < 65536:
        raise ValueError(f"has the port {port}: ports are 1 to 65535")


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


def platform(text: str) -> Platform:
    try:
        return as_platform(text)
    except ValueError:
        raise ValueError("must be amd64 or arm64") from None


def platforms(text: str) -> tuple[Platform, ...]:
    """A list of platforms."""
    return tuple(dict.fromkeys(platform(name) for name in re.split(r"[\s,]+", text.strip(" ,"))))


#: What can follow a build by itself, in the order it is told in.
DELIVERIES: Final = ("push", "bundle", "register")


def deliveries(text: str) -> tuple[str, ...]:
    """What follows a build by itself, e.g. ``push, bundle``."""
    found = set(re.split(r"[\s,]+", text.strip(" ,")))
    if found - set(DELIVERIES):
        raise ValueError(f"must be of {', '.join(DELIVERIES)}, with commas")
    return tuple(name for name in DELIVERIES if name in found)


def service_urls(text: str) -> tuple[str, ...]:
    """URLs of services that messages are sent by, as Apprise has them: ``dingtalk://TOKEN``, ``json://HOST/PATH``."""
    found = tuple(text.split())
    if not all(re.fullmatch(r"[a-z0-9]+://\S+", each) for each in found):
        raise ValueError("must be URLs of Apprise, with spaces between them: dingtalk://TOKEN mailto://…")
    return found


def releases(text: str) -> SpecifierSet:
    """Which releases are meant, as Python's packages say it: ``==1.11.*``, ``>=1.11.3,<2``."""
    try:
        return SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError("must be versions such as ==1.11.* or >=1.11.3,<2") from None


def time_of_day(text: str) -> tuple[int, int]:
    """Hour and minute."""
    found = re.fullmatch(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", text)
    if found is None:
        raise ValueError("must be a time of day such as 02:30")
    return int(found[1]), int(found[2])


def count(text: str) -> int:
    """A number of things, from 1."""
    if not re.fullmatch(r"[0-9]{1,4}", text) or not int(text):
        raise ValueError("must be a number from 1 to 9999")
    return int(text)


_DAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")


def time_of_week(text: str) -> tuple[int, int, int]:
    """Day (0: Sunday, as cron has it), hour and minute of ``sunday 01:00``."""
    day, _, time = text.strip().lower().partition(" ")
    if day not in _DAYS:
        raise ValueError("must be a day and a time of the week: sunday 01:00")
    return _DAYS.index(day), *time_of_day(time)


def base_updates(text: str) -> str:
    """What is done about newer base images: ``nightly`` builds stand on them, or ``ask``."""
    if text not in ("nightly", "ask"):
        raise ValueError("must be nightly or ask")
    return text


def time_zone(text: str) -> str:
    """A time zone by its name, e.g. ``Asia/Shanghai``."""
    try:
        # Not looked for in a list of all of them, which is read from hundreds of files.
        ZoneInfo(text)
    except (ValueError, OSError, ZoneInfoNotFoundError):
        raise ValueError("must be a time zone, e.g. Asia/Shanghai") from None
    return text


def switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


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


def steps(text: str) -> str:
    """What the steps of a run are: ``processes`` of it, or ``containers`` beside it."""
    if text not in ("processes", "containers"):
        raise ValueError("must be processes or containers")
    return text


def registry_folder(text: str) -> str:
    """A namespace in a registry that is named: nothing goes to Docker Hub because a host was left out."""
    found = prefix(text)
    if not is_host(found.split("/")[0]) or "/" not in found:
        raise ValueError("must be HOST[:PORT]/NAMESPACE of a registry")
    return found


def mirror(text: str) -> str:
    if len(text) > MAX_NAME or not re.fullmatch(rf"{HOST}(?:/{COMPONENT})*", text):
        raise ValueError("must be HOST[:PORT][/PATH] of a registry that mirrors Docker Hub")
    host = text.split("/")[0]
    if not is_host(host):
        raise ValueError(
            f"must begin with a registry's host: Docker takes {host!r}, without '.' or ':', for a namespace"
        )
    check_port(host)
    return text


def hosts(text: str) -> tuple[str, ...]:
    """A list of registries, each HOST[:PORT]."""
    found = tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip(" ,"))))
    for host in found:
        if not re.fullmatch(HOST, host) or not is_host(host):
            raise ValueError("must be HOST[:PORT] of registries, several with commas between them")
        check_port(host)
    return found


def line(text: str) -> str:
    """A name or a password: anything that fits on one line. It goes into a request's header and nowhere else."""
    if not text.isprintable() or len(text) > _MAX_PATH:
        raise ValueError(f"must be one line of at most {_MAX_PATH} printable characters")
    return text


def images(text: str) -> tuple[str, ...]:
    """A list of images, each NAME:TAG, with the digest it must have if that is said."""
    found = tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip(" ,"))))
    for reference in found:
        if len(reference) > MAX_NAME + _MAX_REF or not _IMAGE_PATTERN.fullmatch(reference):
            raise ValueError("must be NAME:TAG or NAME:TAG@sha256:DIGEST, several with commas between them")
    return found


def part_size(text: str) -> int:
    """How large the parts of a file may be, in bytes; ``M``, ``G`` and ``T`` are powers of 1024."""
    found = re.fullmatch(r"([0-9]{1,15})([MGT]?)", text, re.IGNORECASE)
    if found is None:
        raise ValueError("must be a size such as 700M or 2G")
    size = int(found[1]) << {"": 0, "M": 20, "G": 30, "T": 40}[found[2].upper()]
    if size < SMALLEST_PART:
        raise ValueError("must be at least 1M")
    return size


def options(text: str) -> tuple[str, ...]:
    if len(text) > _MAX_OPTIONS:
        raise ValueError(f"is too long: {len(text)} characters, at most {_MAX_OPTIONS}")
    try:
        tokens = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"can't be split into options: {error}") from None
    options: list[str] = []
    rest = iter(tokens)
    for token in rest:
        name, equals, value = token.partition("=")
        if name not in BUILD_OPTIONS:
            raise ValueError(
                f"{name!r} is not an option that may be set here; allowed: {', '.join(sorted(BUILD_OPTIONS))}"
            )
        pattern = BUILD_OPTIONS[name]
        if pattern is None:
            if equals:
                raise ValueError(f"{name} takes no value")
            options.append(name)
            continue
        if not equals:
            value = next(rest, "")
        if not value or value.startswith("-") or not value.isprintable():
            raise ValueError(f"{name} needs a value")
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{name} can't have the value {value.partition('=')[0]!r}")
        subject = value.partition("=")[0]
        if name in _RESERVED and subject.startswith(_RESERVED[name]):
            raise ValueError(f"{name} {subject} is set by the pipeline and can't be overridden")
        options.append(f"{name}={value}")
    return tuple(options)
