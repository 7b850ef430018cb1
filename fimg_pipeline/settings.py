"""Every setting as one frozen, validated object.

The names, spellings and defaults in :data:`VARIABLES` are the interface (build document, table of environment
variables, and below them our own). A value comes from the first of: a flag, the environment, ``.env`` in the working
directory, the default. All problems are reported at once, each naming its variable and where the value came from, and
nothing starts before they are mended: values end up in paths, image names and argument lists.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values

from fimg_pipeline.catalog.bases import LOCAL_NAMESPACE
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.catalog.platforms import Platform, as_platform
from fimg_pipeline.errors import FimgError

#: Docker's grammar for tags (distribution/reference).
TAG_PATTERN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PREFIX_PATTERN: Final = re.compile(rf"(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*")
_REF_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+-]*")
_PATH_PATTERN: Final = re.compile(r"[\w./@+,=~%-]+")
_URL_PATTERN: Final = re.compile(r"(?:https?|ssh|git|file)://[A-Za-z0-9._~:/@%?=&+,\[\]-]+")
_SCP_PATTERN: Final = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[A-Za-z0-9._~/+-]+")
_APT_SOURCE_PATTERN: Final = re.compile(r"https?://[A-Za-z0-9._~:/@%+-]+ [A-Za-z0-9._/-]+(?: [A-Za-z0-9._-]+)*")

#: Longest repository name Docker accepts, host included.
_MAX_NAME: Final = 255
_MAX_PATH: Final = 4096
_MAX_COMPONENT: Final = 255
_MAX_REF: Final = 255

#: ``docker build`` options that make sense in ``Docker_Options``: name → whether it takes a value. What the pipeline
#: sets itself (tag, file, platform, output …) and what would change the meaning of the context is left out on purpose.
BUILD_OPTIONS: Final[Mapping[str, bool]] = {
    "--no-cache": False,
    "--add-host": True,
    "--build-arg": True,
    "--cache-from": True,
    "--label": True,
    "--network": True,
    "--shm-size": True,
    "--ssh": True,
    "--ulimit": True,
}
#: What such options may not name, because plan and engine do.
_RESERVED: Final[Mapping[str, tuple[str, ...]]] = {
    "--build-arg": ("PARENT", "BASE_", "PACKAGE_", "SOURCE_DATE", "EXTRA_INDEXES", "SPARK_VERSION"),
    "--label": ("io.fimg.", "org.opencontainers.image."),
}
#: Build arguments BuildKit knows by itself and keeps out of images; also in lower case.
PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")
#: Options that change how an image is built but not what is in it.
NEUTRAL_OPTIONS: Final = frozenset({"--no-cache", "--cache-from", "--shm-size", "--ulimit", "--ssh"})


class SettingsError(FimgError):
    """One or more variables have a value that can't be used; the message has a line for each."""


@dataclass(frozen=True)
class Settings:
    """What one invocation builds, and with what. Paths are absolute; an absent optional value is ``None``."""

    fate_dir: Path
    tag: str
    base_tag: str
    prefix: str
    docker_options: tuple[str, ...]
    features: frozenset[Feature]
    ipcl_pkg_dir: Path | None
    ipcl_version: str
    llm_version: str
    platform: Platform

    home: Path
    fate_llm_url: str
    ipcl_url: str
    git_mirror: str | None
    docker_hub_mirror: str | None
    apt_mirror: str | None
    apt_security_mirror: str | None
    pip_index_url: str | None
    pip_extra_index_url: str | None
    npm_registry: str | None
    maven_mirror: str | None
    pytorch_index_url: str | None
    pyg_find_links: str | None
    cuda_apt_repository: str | None
    ca_bundle: Path | None
    python_prefix: Path | None

    warnings: tuple[str, ...] = field(default=(), compare=False)

    @property
    def no_cache(self) -> bool:
        """Whether the user asked for everything to be built anew."""
        return "--no-cache" in self.docker_options

    @property
    def optional_indexes(self) -> frozenset[str]:
        """Indexes beyond the public registries that are configured: with them recipes install other builds."""
        configured = {"pytorch": self.pytorch_index_url, "pyg": self.pyg_find_links, "cuda": self.cuda_apt_repository}
        return frozenset(name for name, value in configured.items() if value is not None)

    @property
    def network_variables(self) -> dict[str, str]:
        """Mirrors as the recipes' build library reads them; handed over as a secret, since URLs may hold passwords."""
        values = {
            "APT_MIRROR": self.apt_mirror,
            "APT_SECURITY_MIRROR": self.apt_security_mirror,
            "PIP_INDEX_URL": self.pip_index_url,
            "PIP_EXTRA_INDEX_URL": self.pip_extra_index_url,
            "NPM_CONFIG_REGISTRY": self.npm_registry,
            "MAVEN_MIRROR": self.maven_mirror,
            "PYTORCH_INDEX_URL": self.pytorch_index_url,
            "PYG_FIND_LINKS": self.pyg_find_links,
            "CUDA_APT_REPOSITORY": self.cuda_apt_repository,
        }
        return {name: value for name, value in values.items() if value is not None}


def redacted(text: str) -> str:
    """``text`` without what stands before the host of the URLs in it: names, passwords, tokens."""
    return re.sub(r"(://)[^\s'\"]*@", r"\1***@", text)


def tag_problem(text: str) -> str | None:
    """Why ``text`` is no tag Docker would accept, or ``None``. Also the gate for partition keys."""
    if TAG_PATTERN.fullmatch(text):
        return None
    return "must be a Docker tag: 1 to 128 letters, digits, '_', '.', '-', not starting with '.' or '-'"


def _tag(text: str) -> str:
    problem = tag_problem(text)
    if problem:
        raise ValueError(problem)
    return text


def _prefix(text: str) -> str:
    if not _PREFIX_PATTERN.fullmatch(text):
        raise ValueError(
            "must be a namespace such as federatedai or HOST[:PORT]/NAMESPACE: "
            "lower-case letters, digits and single '.', '_', '-' between them"
        )
    if ":" in text.split("/")[0] and "/" not in text:
        raise ValueError("names a registry but no namespace: write HOST:PORT/NAMESPACE")
    if text == LOCAL_NAMESPACE or text.startswith(f"{LOCAL_NAMESPACE}/"):
        raise ValueError(f"must not be {LOCAL_NAMESPACE}, where the pipeline keeps its own images")
    longest = max(len(alias) for image in IMAGES.values() for alias in (image.name, *image.aliases))
    if len(text) + 1 + longest > _MAX_NAME:
        raise ValueError(f"is too long: image names may have {_MAX_NAME} characters")
    return text


def _path(text: str) -> Path:
    if len(text) > _MAX_PATH:
        raise ValueError(f"is too long: {len(text)} characters, at most {_MAX_PATH}")
    if any(len(part.encode()) > _MAX_COMPONENT for part in text.split("/")):
        raise ValueError(f"has a part that is too long: at most {_MAX_COMPONENT} bytes between slashes")
    if text.startswith("-") or not _PATH_PATTERN.fullmatch(text):
        raise ValueError("must be a path of letters, digits and . / _ - @ + , = % without spaces or shell characters")
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError("names a user this machine does not have") from None
    if ".." in path.parts:
        raise ValueError("must not contain '..': write the path out")
    return path.absolute()


def _git_ref(text: str) -> str:
    if len(text) > _MAX_REF or not _REF_PATTERN.fullmatch(text) or ".." in text or "//" in text:
        raise ValueError("must be a git tag, branch or commit such as v1.2.0")
    if text.endswith(("/", ".", ".lock")):
        raise ValueError("must be a git tag, branch or commit: it may not end in '/', '.' or '.lock'")
    return text


def _platform(text: str) -> Platform:
    try:
        return as_platform(text)
    except ValueError:
        raise ValueError("must be amd64 or arm64") from None


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("must be 0 or 1")
    return text == "1"


def _url(text: str) -> str:
    if len(text) > _MAX_PATH or not _URL_PATTERN.fullmatch(text):
        raise ValueError("must be a URL such as https://host/path, without spaces or shell characters")
    return text


def _git_url(text: str) -> str:
    if text.startswith(("/", "~")):
        return str(_path(text))
    if _SCP_PATTERN.fullmatch(text):
        return text
    try:
        return _url(text)
    except ValueError:
        raise ValueError("must be a git URL (https://, ssh://, git://, user@host:path) or an absolute path") from None


def _apt_source(text: str) -> str:
    if not _APT_SOURCE_PATTERN.fullmatch(text):
        raise ValueError(
            "must be an apt source: URL SUITE [COMPONENT…], such as https://host/cuda/repos/debian12/x86_64 /"
        )
    return text


def _mirror(text: str) -> str:
    if len(text) > _MAX_NAME or not re.fullmatch(rf"{_HOST}(?:/{_COMPONENT})*", text):
        raise ValueError("must be HOST[:PORT][/PATH] of a registry that mirrors Docker Hub")
    return text


def _options(text: str) -> tuple[str, ...]:
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
        if not BUILD_OPTIONS[name]:
            if equals:
                raise ValueError(f"{name} takes no value")
            options.append(name)
            continue
        if not equals:
            value = next(rest, "")
        if not value or value.startswith("-") or not value.isprintable():
            raise ValueError(f"{name} needs a value")
        subject = value.partition("=")[0]
        if name in _RESERVED and subject.startswith(_RESERVED[name]):
            raise ValueError(f"{name} {subject} is set by the pipeline and can't be overridden")
        options.append(f"{name}={value}")
    return tuple(options)


@dataclass(frozen=True)
class Variable:
    """One setting: the environment variable's name, the attribute it fills, its default, how it is read."""

    name: str
    attribute: str
    default: str
    parse: Callable[[str], Any]
    meaning: str


_HOME_DEFAULT: Final = "~/.local/state/fimg"

VARIABLES: Final[tuple[Variable, ...]] = (
    Variable("FATE_DIR", "fate_dir", "/data/projects/fate", _path, "FATE checkout"),
    Variable("TAG", "tag", "latest", _tag, "tag of the images"),
    Variable("BASE_TAG", "base_tag", "", _tag, "tag of the base images; default: TAG"),
    Variable("PREFIX", "prefix", "federatedai", _prefix, "registry and namespace"),
    Variable("Docker_Options", "docker_options", "", _options, "extra options for every docker build"),
    *(
        Variable(feature.variable, feature.name, default, _switch, meaning)
        for feature, default, meaning in (
            (Feature.BASIC, "1", "fateflow, fateboard, eggroll"),
            (Feature.OP, "1", "client and fate-test"),
            (Feature.FUM, "0", "fate-upgrade-manager"),
            (Feature.NN, "1", "images with neural network packages"),
            (Feature.SPARK, "1", "images for Spark, and nginx"),
            (Feature.IPCL, "0", "images with Intel's Paillier library"),
            (Feature.GPU, "0", "images with CUDA"),
            (Feature.LLM, "0", "images with FATE-LLM"),
        )
    ),
    Variable("IPCL_PKG_DIR", "ipcl_pkg_dir", "", _path, "checkout of pailliercryptolib_python; default: fetched"),
    Variable("IPCL_VERSION", "ipcl_version", "v1.1.3", _git_ref, "its tag, branch or commit"),
    Variable("Build_LLM_VERSION", "llm_version", "v1.2.0", _git_ref, "FATE-LLM's tag, branch or commit"),
    Variable("Platform", "platform", "amd64", _platform, "amd64 or arm64"),
    Variable("FIMG_HOME", "home", _HOME_DEFAULT, _path, "state folder: fetched sources, locks, logs"),
    Variable(
        "FATE_LLM_URL", "fate_llm_url", "https://github.com/FederatedAI/FATE-LLM.git", _git_url, "FATE-LLM's repository"
    ),
    Variable(
        "IPCL_URL", "ipcl_url", "https://github.com/intel/pailliercryptolib_python.git", _git_url, "IPCL's repository"
    ),
    Variable("GIT_MIRROR", "git_mirror", "", _git_url, "takes the place of https://github.com/"),
    Variable("DOCKER_HUB_MIRROR", "docker_hub_mirror", "", _mirror, "takes the place of Docker Hub"),
    Variable("APT_MIRROR", "apt_mirror", "", _url, "takes the place of http://deb.debian.org/debian"),
    Variable("APT_SECURITY_MIRROR", "apt_security_mirror", "", _url, "takes the place of …/debian-security"),
    Variable("PIP_INDEX_URL", "pip_index_url", "", _url, "takes the place of PyPI"),
    Variable(
        "PIP_EXTRA_INDEX_URL", "pip_extra_index_url", "", _url, "a further Python index, e.g. for torch's +cpu wheels"
    ),
    Variable("NPM_CONFIG_REGISTRY", "npm_registry", "", _url, "takes the place of the npm registry"),
    Variable("MAVEN_MIRROR", "maven_mirror", "", _url, "takes the place of Maven Central"),
    Variable("PYTORCH_INDEX_URL", "pytorch_index_url", "", _url, "torch's own index, with its +cpu and +cuXXX wheels"),
    Variable(
        "PYG_FIND_LINKS", "pyg_find_links", "", _url, "wheels of the graph packages, e.g. https://data.pyg.org/whl"
    ),
    Variable(
        "CUDA_APT_REPOSITORY", "cuda_apt_repository", "", _apt_source, "apt source with the CUDA toolkit, for FATE-LLM"
    ),
    Variable("CA_BUNDLE", "ca_bundle", "", _path, "PEM file the builds trust; default: SSL_CERT_FILE where it is set"),
    Variable(
        "PYTHON_PREFIX", "python_prefix", "", _path, "a CPython 3.8 to make the Python base from; default: pyenv's"
    ),
)

_BY_NAME: Final[Mapping[str, Variable]] = {variable.name: variable for variable in VARIABLES}


@dataclass(frozen=True)
class _Value:
    text: str
    origin: str


def load(
    flags: Mapping[str, str] | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Settings:
    """Reads flags (by variable name), ``environ`` and ``.env`` in ``directory``; raises :class:`SettingsError`.

    An empty value counts as not set, as in the old script. ``${version}`` in ``TAG`` and ``BASE_TAG`` stands for the
    FATE version in ``fate.env``, as the build document's example has it.
    """
    environ = os.environ if environ is None else environ
    flags = flags or {}
    unknown = sorted(set(flags) - set(_BY_NAME))
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}", hint=f"known are: {', '.join(sorted(_BY_NAME))}")
    dotenv = _read_dotenv((directory or Path.cwd()) / ".env")
    raw: dict[str, _Value] = {}
    for variable in VARIABLES:
        for origin, source in (("flag", flags), ("environment", environ), (".env", dotenv)):
            text = source.get(variable.name)
            if text:
                raw[variable.name] = _Value(text, origin)
                break
        else:
            raw[variable.name] = _Value(variable.default, "default")
    if not raw["CA_BUNDLE"].text and environ.get("SSL_CERT_FILE"):
        raw["CA_BUNDLE"] = _Value(environ["SSL_CERT_FILE"], "environment SSL_CERT_FILE")
    _expand_version(raw)
    if not raw["BASE_TAG"].text:
        raw["BASE_TAG"] = raw["TAG"]
    return _parse(raw, warnings=_misspelt({"environment": environ, ".env": dotenv}))


def _parse(raw: Mapping[str, _Value], *, warnings: Sequence[str]) -> Settings:
    problems: list[str] = []
    values: dict[str, Any] = {}
    for variable in VARIABLES:
        value = raw[variable.name]
        if not value.text:
            values[variable.attribute] = () if variable.parse is _options else None
            continue
        try:
            values[variable.attribute] = variable.parse(value.text)
        except ValueError as error:
            problems.append(f"{variable.name}={_shown(value.text)} ({value.origin}): {error}")
    ca_bundle = values.get("ca_bundle")
    if ca_bundle is not None and not _holds_certificates(ca_bundle):
        problems.append(f"CA_BUNDLE={ca_bundle} ({raw['CA_BUNDLE'].origin}): no such file, or no PEM certificate in it")
    if problems:
        raise SettingsError("\n".join(problems), hint="mend the variables named above; nothing was started")
    features = frozenset(feature for feature in Feature if values.pop(feature.name))
    return Settings(features=features, warnings=tuple(warnings), **values)


def _holds_certificates(path: Path) -> bool:
    try:
        return b"-----BEGIN CERTIFICATE-----" in path.read_bytes()
    except OSError:
        return False


def _shown(text: str) -> str:
    """A value as error messages show it: no control characters, no password of a URL, not endless."""
    hidden = redacted(text)
    printable = hidden.encode("unicode_escape").decode("ascii") if not hidden.isprintable() else hidden
    return repr(printable if len(printable) <= 80 else f"{printable[:77]}…")


def _read_dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    try:
        values = dotenv_values(path, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from None
    return {name: value for name, value in values.items() if value is not None}


def _expand_version(raw: dict[str, _Value]) -> None:
    for name in ("TAG", "BASE_TAG"):
        value = raw[name]
        if "${version}" not in value.text:
            continue
        try:
            fate_env = _path(raw["FATE_DIR"].text) / "fate.env"
        except ValueError:
            return  # told below, by the check of FATE_DIR itself
        version = dotenv_values(fate_env).get("FATE") if fate_env.is_file() else None
        if not version:
            raise SettingsError(
                f"{name}={value.text} ({value.origin}): ${{version}} is unknown, {fate_env} has no line FATE=…",
                hint="set FATE_DIR to a FATE checkout, or write the version out",
            )
        raw[name] = _Value(value.text.replace("${version}", version), value.origin)


def _misspelt(sources: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Variables whose letters are right but whose case is not: silently ignored, they'd build the wrong set."""
    by_lower = {feature.variable.lower(): feature.variable for feature in Feature} | {
        name.lower(): name for name in ("Docker_Options", "Build_LLM_VERSION", "Platform")
    }
    return [
        f"{name} in {origin} is ignored: the variable is spelt {by_lower[name.lower()]}"
        for origin, source in sources.items()
        for name in sorted(source)
        if name.lower() in by_lower and name != by_lower[name.lower()]
    ]
