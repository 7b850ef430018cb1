"""Every setting as one frozen, validated object.

The names, spellings and defaults in :data:`VARIABLES` are the interface (build document, table of environment
variables, and below them our own). A value comes from the first of: a flag, the environment, ``.env`` in the working
directory, the default. All problems are reported at once, each naming its variable and where the value came from, and
nothing starts before they are mended: values end up in paths, image names and argument lists.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from packaging.specifiers import SpecifierSet

from fimg_pipeline.catalog.bases import PYTHON_SERIES
from fimg_pipeline.catalog.features import Feature
from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.errors import FimgError
from fimg_pipeline.values import build_options, choices, masking, names, places
from fimg_pipeline.variables import VARIABLES, Variable


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
    watched_platforms: tuple[Platform, ...]
    nightly_at: tuple[int, int]
    refresh_at: tuple[int, int, int]
    prune_at: tuple[int, int, int]
    prune_keep: int
    prune_days: int
    base_updates: str
    time_zone: str
    releases: SpecifierSet
    deliveries: tuple[str, ...]
    notify_urls: tuple[str, ...] = field(repr=False)
    ui_url: str

    docker_host_amd64: str | None
    docker_host_arm64: str | None
    shared_registry: str | None
    steps: str

    home: Path
    bundle_dir: Path | None
    third_party_images: tuple[str, ...]
    registry_user: str | None
    registry_password: str | None = field(repr=False)
    registry_ca: Path | None
    insecure_registries: tuple[str, ...]
    kuscia_app_images: Path | None
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
    def as_built(self) -> Settings:
        """These, for who looks at what is built: that all is to be built anew makes nothing of it outdated."""
        return replace(self, docker_options=tuple(each for each in self.docker_options if each != "--no-cache"))

    @property
    def engine_address(self) -> str | None:
        """Where the engine is that builds for ``platform``, if it is not the one the environment names."""
        return self.docker_host_arm64 if self.platform == "arm64" else self.docker_host_amd64

    @property
    def engine_addresses(self) -> tuple[str | None, ...]:
        """Of all engines there are, each once."""
        return tuple(dict.fromkeys((self.docker_host_amd64, self.docker_host_arm64)))

    @property
    def optional_indexes(self) -> frozenset[str]:
        """Indexes beyond the public registries that are configured: with them recipes install other builds."""
        configured = {"pytorch": self.pytorch_index_url, "pyg": self.pyg_find_links, "cuda": self.cuda_apt_repository}
        return frozenset(name for name, value in configured.items() if value is not None)

    def bundles(self, output: str = "") -> Path:
        """Where folders of bundles are made: ``output``, if it is said; :class:`SettingsError` if it can't be there."""
        if not output:
            return self.bundle_dir or self.home / "bundles"
        try:
            folder = places.path(output)
        except ValueError as error:
            raise SettingsError(f"output {output!r}: {error}") from None
        problems = _source_problems(folder, {"fate_dir": self.fate_dir, "ipcl_pkg_dir": self.ipcl_pkg_dir})
        if problems:
            raise SettingsError(f"output {output} {'; '.join(problems)}")
        return folder

    @property
    def security_mirror(self) -> str | None:
        """Where security updates come from, when not from Debian: beside ``…/debian`` unless it is said."""
        if self.apt_security_mirror or self.apt_mirror is None:
            return self.apt_security_mirror
        mirror = self.apt_mirror.rstrip("/")
        return f"{mirror}-security" if urlsplit(mirror).path.endswith("/debian") else DEBIAN_SECURITY

    @property
    def network_variables(self) -> dict[str, str]:
        """Mirrors as the recipes' build library reads them; handed over as a secret, since URLs may hold passwords."""
        mirrors = {
            "APT_MIRROR": self.apt_mirror,
            "APT_SECURITY_MIRROR": self.security_mirror,
            "PIP_INDEX_URL": self.pip_index_url,
            "PIP_EXTRA_INDEX_URL": self.pip_extra_index_url,
            "NPM_CONFIG_REGISTRY": self.npm_registry,
            "MAVEN_MIRROR": self.maven_mirror,
            "PYTORCH_INDEX_URL": self.pytorch_index_url,
            "PYG_FIND_LINKS": self.pyg_find_links,
            "CUDA_APT_REPOSITORY": self.cuda_apt_repository,
        }
        return {name: value for name, value in mirrors.items() if value is not None}


#: Where Debian's packages come from when nobody says otherwise.
DEBIAN: Final = "http://deb.debian.org/debian"
DEBIAN_SECURITY: Final = "http://deb.debian.org/debian-security"
_DEFAULT: Final = "default"
#: How like (of difflib's ratio) a name in ``.env`` is to one that is meant.
_NEARLY: Final = 0.85
#: How settings are read that may have any number of values.
_LISTS: Final = (build_options.options, names.hosts, choices.deliveries, places.service_urls)
#: What a variable is like that is not set.
_LIKE: Final = {"BASE_TAG": "TAG", "WATCHED_PLATFORMS": "Platform"}
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

    An empty value counts as not set, as in the old script, except by flag: there it is a mistake. ``${version}`` in
    ``TAG`` and ``BASE_TAG`` stands for the FATE version in ``fate.env``, as the build document's example has it.
    """
    environ = os.environ if environ is None else environ
    dotenv = _read_dotenv(directory)
    raw = _gather(flags or {}, environ, dotenv)
    if not raw["CA_BUNDLE"].text and environ.get("SSL_CERT_FILE"):
        raw["CA_BUNDLE"] = _Value(environ["SSL_CERT_FILE"], "environment SSL_CERT_FILE")
    _expand_version(raw)
    for name, other in _LIKE.items():
        if not raw[name].text:
            raw[name] = raw[other]
    return _parse(raw, _others(environ, dotenv), warnings=_misspelt({"environment": environ, ".env": dotenv}))


def exported(
    flags: Mapping[str, str], *, environ: Mapping[str, str] | None = None, directory: Path | None = None
) -> dict[str, str]:
    """The variables by which a process started with them finds the same settings, in whatever folder it works.

    Proxies, ``DAGSTER_HOME`` and where Docker's client finds its engine are among them: Dagster, that client and git
    read those from the environment.
    For settings that :func:`load` accepts.
    """
    environ = os.environ if environ is None else environ
    dotenv = _read_dotenv(directory)
    raw = _gather(flags, environ, dotenv)
    given = {name: value.text for name, value in raw.items() if value.origin != _DEFAULT}
    absolute = {
        name: str(places.path(text)) for name, text in given.items() if _BY_NAME[name].parse is places.path and text
    }
    others = {name: value.text for name, value in _others(environ, dotenv).items()}
    if "DOCKER_CERT_PATH" in others:
        others["DOCKER_CERT_PATH"] = _certificates(others["DOCKER_CERT_PATH"])
    return given | absolute | others


def _gather(flags: Mapping[str, str], environ: Mapping[str, str], dotenv: Mapping[str, str]) -> dict[str, _Value]:
    """The text of every variable, from the first that has one."""
    told = sorted(name for name in flags if name in _BY_NAME and _BY_NAME[name].secret)
    if told:
        raise SettingsError(
            f"{told[0]} must not be given where others can read it (flag or run configuration)",
            hint="set it in the environment or in .env",
        )
    unknown = sorted(set(flags) - set(_BY_NAME))
    if unknown:
        raise SettingsError(f"unknown setting {', '.join(unknown)}", hint=f"known are: {', '.join(sorted(_BY_NAME))}")
    raw: dict[str, _Value] = {}
    for variable in VARIABLES:
        for origin, source in (("flag", flags), ("environment", environ), (".env", dotenv)):
            text = source.get(variable.name)
            if text == "" and source is flags:
                raise SettingsError(
                    f"{variable.name} ({origin}) is empty", hint="give it a value, or leave the flag out"
                )
            if text:
                raw[variable.name] = _Value(text, origin)
                break
        else:
            raw[variable.name] = _Value(variable.default, _DEFAULT)
    return raw


def _others(environ: Mapping[str, str], dotenv: Mapping[str, str]) -> dict[str, _Value]:
    """Variables that are not ours but count for what is started: set, and from where."""
    found: dict[str, _Value] = {}
    for name in ("DAGSTER_HOME", *_DOCKERS, *build_options.PROXY_VARIABLES):
        # Programs disagree about the case of proxies' names: what the environment says in one, .env can't in the other.
        spellings = (name, name.lower()) if name in build_options.PROXY_VARIABLES else (name,)
        for origin, source in (("environment", environ), (".env", dotenv)):
            given = {spelt: _Value(source[spelt], origin) for spelt in spellings if source.get(spelt)}
            if given:
                found |= given
                break
    return found


def _parse(raw: Mapping[str, _Value], others: Mapping[str, _Value], *, warnings: Sequence[str]) -> Settings:
    problems: list[str] = []
    parsed: dict[str, Any] = {}
    for variable in VARIABLES:
        value = raw[variable.name]
        other = _LIKE.get(variable.name)
        if other is not None and value is raw[other] and _BY_NAME[other].attribute not in parsed:
            continue  # not set: what is wrong with the other was told
        if not value.text:
            parsed[variable.attribute] = () if variable.parse in _LISTS else None
            continue
        try:
            parsed[variable.attribute] = variable.parse(value.text)
        except ValueError as error:
            shown = "…" if variable.secret else _shown(value.text)
            problems.append(f"{variable.name}={shown} ({value.origin}): {error}")
    for name in ("CA_BUNDLE", "REGISTRY_CA"):
        bundle = parsed.get(_BY_NAME[name].attribute)
        if bundle is not None and not _holds_certificates(bundle):
            problems.append(f"{name}={bundle} ({raw[name].origin}): no such file, or no PEM certificate in it")
    login = ("REGISTRY_USER", "REGISTRY_PASSWORD")
    given = [name for name in login if raw[name].text]
    if len(given) == 1:
        problems.append(f"{given[0]} ({raw[given[0]].origin}): a login is both, {' and '.join(login)}")
    if "register" in (parsed.get("deliveries") or ()) and not raw["KUSCIA_APP_IMAGES"].text:
        problems.append(f"AFTER_BUILD ({raw['AFTER_BUILD'].origin}): register needs KUSCIA_APP_IMAGES, which is empty")
    python_prefix = parsed.get("python_prefix")
    if python_prefix is not None and not (python_prefix / "bin" / f"python{PYTHON_SERIES}").is_file():
        problems.append(
            f"PYTHON_PREFIX={python_prefix} ({raw['PYTHON_PREFIX'].origin}): no CPython {PYTHON_SERIES} is there "
            f"(bin/python{PYTHON_SERIES})"
        )
    for name, folder in (("FIMG_HOME", parsed.get("home")), ("BUNDLE_DIR", parsed.get("bundle_dir"))):
        if folder is not None:
            problems += [f"{name}={folder} ({raw[name].origin}): {why}" for why in _source_problems(folder, parsed)]
    for name, value in others.items():
        if name == "DAGSTER_HOME":
            found = _instance_problems(value.text, parsed)
        else:
            found = _problems_of(value.text, _DOCKERS.get(name, places.proxy))
        problems += [f"{name}={_shown(value.text)} ({value.origin}): {why}" for why in found]
    if problems:
        raise SettingsError("\n".join(problems), hint="mend the variables named above; nothing was started")
    features = frozenset(feature for feature in Feature if parsed.pop(feature.name))
    return Settings(features=features, warnings=tuple(warnings), **parsed)


def _source_problems(folder: Path, parsed: Mapping[str, Any]) -> list[str]:
    """What is written must not be part of what is built: a checkout would be changed, and it would go into images."""
    sources = {"FATE_DIR": parsed.get("fate_dir"), "IPCL_PKG_DIR": parsed.get("ipcl_pkg_dir")}
    return [
        f"must not be in {name}={source}, which is only read"
        for name, source in sources.items()
        if source is not None and folder.resolve().is_relative_to(source.resolve())
    ]


def _instance_problems(text: str, parsed: Mapping[str, Any]) -> list[str]:
    """What is wrong with ``DAGSTER_HOME``, which is Dagster's own variable."""
    try:
        folder = places.path(text)
    except ValueError as error:
        return [str(error)]
    if not folder.is_absolute() or not folder.is_dir():
        return ["must be an absolute path of a folder that is there: create it, or unset it"]
    return _source_problems(folder, parsed)


def _problems_of(text: str, parse: Callable[[str], str]) -> list[str]:
    try:
        parse(text)
    except ValueError as error:
        return [str(error)]
    return []


def _certificates(text: str) -> str:
    """The absolute path of a folder that is docker's, whatever letters it has."""
    try:
        return str(Path(choices.line(text)).expanduser().absolute())
    except RuntimeError:
        raise ValueError("names a user this machine does not have") from None


#: Docker's own variables, by which its client, and we, find an engine; how each is checked.
_DOCKERS: Final[Mapping[str, Callable[[str], str]]] = {
    "DOCKER_HOST": choices.line,
    "DOCKER_TLS_VERIFY": choices.line,
    "DOCKER_CERT_PATH": _certificates,
}


def _holds_certificates(path: Path) -> bool:
    try:
        return b"-----BEGIN CERTIFICATE-----" in path.read_bytes()
    except OSError:
        return False


def _shown(text: str) -> str:
    """A value as error messages show it: no control characters, no password of a URL, not endless."""
    hidden = masking.redacted(text)
    printable = hidden.encode("unicode_escape").decode("ascii") if not hidden.isprintable() else hidden
    return repr(printable if len(printable) <= 80 else f"{printable[:77]}…")


def _read_dotenv(directory: Path | None) -> dict[str, str]:
    path = (directory or Path.cwd()) / ".env"
    if not path.exists():
        return {}
    try:
        bindings = list(parse_stream(io.StringIO(path.read_text(encoding="utf-8"))))
    except OSError as error:
        raise SettingsError(
            f"{path} can't be read: {error.strerror}", hint="it has to be a file that you may read, or not there at all"
        ) from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path} is no text in UTF-8: byte {error.start + 1} is {error.object[error.start]:#04x}",
            hint="save it as UTF-8",
        ) from None
    for binding in bindings:
        if binding.error:
            raise SettingsError(
                f"{path}, line {binding.original.line}: not of the form NAME=value",
                hint="quote values with spaces or quotes in them: NAME='value'",
            )
    return {binding.key: binding.value for binding in bindings if binding.key and binding.value is not None}


def _expand_version(raw: dict[str, _Value]) -> None:
    for name in ("TAG", "BASE_TAG"):
        value = raw[name]
        if "${version}" not in value.text:
            continue
        try:
            fate_env = places.path(raw["FATE_DIR"].text) / "fate.env"
        except ValueError:
            # Told below, by the check of FATE_DIR itself; what this one would be is not known.
            raw[name] = _Value(value.text.replace("${version}", "unknown"), value.origin)
            continue
        version = dotenv_values(fate_env).get("FATE") if fate_env.is_file() else None
        if not version:
            raise SettingsError(
                f"{name}={value.text} ({value.origin}): ${{version}} is unknown, {fate_env} has no line FATE=…",
                hint="set FATE_DIR to a FATE checkout, or write the version out",
            )
        raw[name] = _Value(value.text.replace("${version}", version), value.origin)


def _misspelt(sources: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Variables whose letters are right but whose case is not, and in ``.env`` those that are nearly one of ours.

    Ignored in silence they'd build the wrong set.
    """
    by_lower = {variable.name.lower(): variable.name for variable in VARIABLES}
    # In an environment these may well be other programs' own.
    general = {
        "tag",
        "prefix",
        "platform",
        *(name for name in by_lower if name.endswith(("_mirror", "_url", "_registry"))),
    }
    found = []
    for origin, source in sources.items():
        for name in sorted(source.keys() - _BY_NAME.keys()):
            if name.lower() in by_lower.keys() - (general if origin == "environment" else set()):
                found.append(f"{name} in {origin} is ignored: the variable is spelt {by_lower[name.lower()]}")
            elif origin == ".env" and (near := get_close_matches(name.lower(), by_lower, 1, _NEARLY)):
                found.append(f"{name} in {origin} is ignored: is {by_lower[near[0]]} meant?")
    return found
