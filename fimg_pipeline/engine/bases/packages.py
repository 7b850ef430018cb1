"""The packages of a small Debian, by this machine's apt: downloaded and verified as any user, none installed."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

from fimg_pipeline.catalog.platforms import Platform
from fimg_pipeline.engine.bases.suites import Mirrors, Suite, sources_text
from fimg_pipeline.engine.host import HostError, run_logged

#: What a small Debian is made of, as debootstrap has it (``minbase``): in the patterns of apt 2.0 and newer.
_MINIMAL: Final = ("?essential", "?priority(required)", "apt")
_KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_KEYRING_PACKAGE: Final = "debian-archive-keyring"


@dataclass(frozen=True)
class Packages:
    """Package files. ``latest``: as of when they are, in Unix seconds; ``secure``: with security updates."""

    files: Sequence[Path]
    latest: int
    secure: bool


def download(suite: Suite, arch: Platform, mirrors: Mirrors, work: Path, log: Callable[[str], None]) -> Packages:
    """The packages of a small ``suite`` for ``arch``, with updates, below ``work`` (an empty folder).

    A suite whose support has ended may have no security updates any more (its mirror answers 404): then it stays
    without, and that is said. Otherwise they have to be had.
    """
    apt = shutil.which("apt-get")
    if apt is None:
        raise HostError(
            f"Debian {suite.name} can't be bootstrapped: this machine has no apt-get",
            hint="let the engine reach Docker Hub, set DOCKER_HUB_MIRROR, or run this on Debian or Ubuntu",
        )
    keyring = _KEYRING if _KEYRING.is_file() else fetch_keyring(apt, mirrors, work / "keyring")
    try:
        return _downloaded(apt, keyring, suite, arch, mirrors, work / "secure", secure=True)
    except HostError as error:
        if not suite.ended or error.transient or not re.search(r"\b404\b", error.message):
            raise
        without = _downloaded(apt, keyring, suite, arch, mirrors, work / "released", secure=False)
        log(f"Debian {suite.name} stays without security updates, they can't be had:\n{error.message}")
        return without


def _downloaded(
    apt: str, keyring: Path, suite: Suite, arch: Platform, mirrors: Mirrors, folder: Path, *, secure: bool
) -> Packages:
    options = {
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Etc::SourceList": str(folder / "sources.list"),
        "Dir::Etc::SourceParts": "/dev/null",
        "APT::Update::Error-Mode": "any",
        **_common(folder, mirrors),
    }
    environment = _prepared(folder, options)
    (folder / "sources.list").write_text(sources_text(suite.one_line, mirrors, security=secure, keyring=keyring))
    for step in (["update"], ["--yes", "--download-only", "install", *_MINIMAL, *suite.extra_packages]):
        run_logged(
            [apt, "--quiet", *step],
            folder / "log",
            fetches=True,
            what=f"downloading the packages of Debian {suite.name} for {arch}",
            hint="check the network, APT_MIRROR and APT_SECURITY_MIRROR",
            environment=environment,
        )
    releases = (path.read_text(errors="replace") for path in sorted((folder / "lists").glob("*Release")))
    return Packages(sorted((folder / "archives").glob("*.deb")), release_time(releases), secure)


def fetch_keyring(apt: str, mirrors: Mirrors, folder: Path) -> Path:
    """Debian's keys from the package of them, as this machine's own sources have it: Ubuntu comes without."""
    environment = _prepared(folder, _common(folder, mirrors))

    def run(*step: str) -> None:
        run_logged(
            [apt, "--quiet", *step],
            folder / "log",
            fetches=True,
            what="downloading the keys of Debian's archive",
            hint=f"install {_KEYRING_PACKAGE}",
            environment=environment,
        )

    # A source of the machine's that can't be reached need not be the one.
    with suppress(HostError):
        run("update")
    run("--yes", "--download-only", "install", _KEYRING_PACKAGE)
    (package,) = (folder / "archives").glob(f"{_KEYRING_PACKAGE}_*.deb")
    content = folder / "content"
    run_logged(["dpkg-deb", "--extract", str(package), str(content)], folder / "log", what=f"unpacking {package.name}")
    return content / _KEYRING.relative_to("/")


def _common(folder: Path, mirrors: Mirrors) -> Mapping[str, str]:
    """Settings by which apt leaves the machine alone: what is installed, fetched and locked is below ``folder``."""
    return {
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::Retries": "3",
        "Dir::Cache": str(folder),
        "Dir::Etc::Preferences": "/dev/null",
        "Dir::Etc::PreferencesParts": "/dev/null",
        "Dir::Log": str(folder),
        "Dir::State": str(folder),
        "Dir::State::status": str(folder / "status"),
        **({"Acquire::https::CaInfo": str(mirrors.ca_bundle)} if mirrors.ca_bundle else {}),
    }


def _prepared(folder: Path, options: Mapping[str, str]) -> Mapping[str, str]:
    """Makes ``folder`` and apt's configuration in it; the environment apt has to run in."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True)
    (folder / "status").touch()
    configuration = folder / "apt.conf"
    configuration.write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))
    kept = {key: value for key, value in os.environ.items() if key not in ("LANGUAGE", "LANG")}
    return {**kept, "LC_ALL": "C", "APT_CONFIG": str(configuration)}


def release_time(releases: Iterable[str]) -> int:
    """The latest ``Date:`` of apt Release files, in Unix seconds: as of when packages are."""
    dates = [
        int(parsedate_to_datetime(line.partition(":")[2].strip()).timestamp())
        for text in releases
        for line in text.splitlines()
        if line.startswith("Date:")
    ]
    if not dates:
        raise HostError("apt fetched no dated Release file", hint="check APT_MIRROR: is it a Debian mirror?")
    return max(dates)
