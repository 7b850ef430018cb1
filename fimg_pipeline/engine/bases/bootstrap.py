"""Equivalents of the external base images, made here: what stands in when no registry gives them."""

from __future__ import annotations

import re
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from fimg_pipeline.catalog.bases import PYTHON_SERIES, ExternalBase
from fimg_pipeline.catalog.platforms import Platform, docker_platform
from fimg_pipeline.engine.bases.debian import INSTALL_DOCKERFILE, image_rules, write_unpacked
from fimg_pipeline.engine.bases.packages import download
from fimg_pipeline.engine.bases.python import (
    CHECK_FAILED,
    PythonPrefix,
    PythonRecipe,
    debian_recipe,
    prefix_recipe,
    pyenv_roots,
    usable_prefixes,
    write_prefix,
)
from fimg_pipeline.engine.bases.suites import Mirrors, Suite, suite_of
from fimg_pipeline.engine.bases.tree import rewrite_archive
from fimg_pipeline.engine.client import LABEL_PYTHON, Engine
from fimg_pipeline.engine.context import ContextFile, tar_stream
from fimg_pipeline.engine.emulation import ensure_emulation
from fimg_pipeline.engine.failures import BuildError
from fimg_pipeline.engine.host import HostError
from fimg_pipeline.engine.secrets import secret_files
from fimg_pipeline.settings import DEBIAN, DEBIAN_SECURITY, Settings
from fimg_pipeline.state import scratch

LABEL_ORIGIN: Final = "io.fimg.base.origin"
_ROOTFS: Final = "rootfs.tar"
_DEBIAN_DOCKERFILE: Final = f"""\
FROM scratch
ADD {_ROOTFS} /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["bash"]
"""


@dataclass(frozen=True)
class Made:
    """A bootstrapped image: what its label says of its origin, and what the user is told."""

    origin: str
    told: str


@dataclass(frozen=True)
class Ground:
    """A base image another one is made on: its name on the engine, its name for people, its origin."""

    local: str
    reference: str
    origin: str


@dataclass(frozen=True)
class Bootstrap:
    """Bootstraps base images onto ``engine``, which does whatever takes root.

    ``ground`` makes sure of a base by its catalog name. ``fresh`` builds anew what BuildKit has in its cache.
    """

    engine: Engine
    settings: Settings
    ground: Callable[[str, Platform], Ground]
    log: Callable[[str], None]
    fresh: bool = False

    @property
    def mirrors(self) -> Mirrors:
        """Where Debian's packages come from, as the settings say."""
        return Mirrors(
            debian=self.settings.apt_mirror or DEBIAN,
            security=self.settings.security_mirror or DEBIAN_SECURITY,
            ca_bundle=self.settings.ca_bundle,
        )

    @property
    def _options(self) -> list[str]:
        return [*(["--no-cache"] if self.fresh else []), *self.settings.docker_options]

    def debian(self, base: ExternalBase, platform: Platform) -> Made:
        """An equivalent of ``debian:<suite>-slim``: packages by apt, unpacked here and installed on the engine."""
        suite = suite_of(base.reference)
        self.log(f"bootstrapping {base.reference} for {platform} from Debian packages")
        self._make_runnable(platform)
        with scratch(self.settings.home) as work:
            origin = self._debian_tree(suite, platform, work)
            files = [
                ContextFile("Dockerfile", _DEBIAN_DOCKERFILE.encode()),
                ContextFile(_ROOTFS, (work / _ROOTFS).read_bytes()),
            ]
            self._build(base, platform, files, origin)
        return Made(origin, f"took {origin}")

    def _debian_tree(self, suite: Suite, platform: Platform, work: Path) -> str:
        """Makes the files of a slim ``suite`` as a tar in ``work``; says what it is, without mirror or machine."""
        packages = download(suite, platform, self.mirrors, work, self.log)
        unpacked, installed = work / "unpacked.tar", work / "installed.tar"
        write_unpacked(packages.files, platform, unpacked)
        files = [ContextFile("Dockerfile", INSTALL_DOCKERFILE.encode())]
        files += [ContextFile(f"packages/{file.name}", file.read_bytes()) for file in packages.files]
        files.append(ContextFile(unpacked.name, unpacked.read_bytes()))
        self.engine.build_archive(
            tar_stream(files),
            dockerfile="Dockerfile",
            what=f"Debian {suite.name} for {platform}",
            platform=docker_platform(platform),
            options=self._options,
            archive=installed,
            log=self.log,
        )
        with (work / _ROOTFS).open("wb") as output:
            rewrite_archive(installed, output, image_rules(suite, packages.latest, security=packages.secure))
        with tarfile.open(installed) as archive:
            version = archive.extractfile("etc/debian_version")
            assert version is not None
            name = version.read().decode().strip()
        day = datetime.fromtimestamp(packages.latest, timezone.utc).date()
        unsecured = "" if packages.secure else ", without security updates"
        return f"Debian {name} ({suite.name}) made from packages as of {day}{unsecured}"

    def _make_runnable(self, platform: Platform) -> None:
        native = self.engine.platform
        ensure_emulation(
            platform, self.engine, self.settings, debian=lambda: self.ground("debian", native).local, log=self.log
        )

    def python(self, base: ExternalBase, platform: Platform) -> Made:
        """An equivalent of ``python:3.8-slim-bookworm``: a local CPython 3.8 on Debian, else Debian's Python 3.9.

        A prefix that was found but turns out not to run on Debian is said and passed over; one that was configured has
        to work.
        """
        explicit = self.settings.python_prefix
        why = f"no CPython 3.8 for {platform} found on this machine"
        for prefix in usable_prefixes(platform, explicit, pyenv_roots(Path.home(), Path(sys.base_prefix))):
            try:
                return self._on_prefix(base, platform, prefix, self.ground("debian", platform))
            except BuildError as error:
                if not _unusable(error):
                    raise
                if explicit is not None:
                    raise HostError(
                        f"PYTHON_PREFIX={explicit} gives no working image:\n{error.message}",
                        hint="it has to be built on Debian bookworm or something older; or leave it unset",
                    ) from error
                self.log(f"{prefix.path} gives no working image:\n{error.message}")
                why = f"CPython {prefix.version} of {prefix.path} doesn't run on Debian bookworm"
        return self._on_bullseye(base, platform, self.ground("bullseye", platform), why)

    def _on_prefix(self, base: ExternalBase, platform: Platform, prefix: PythonPrefix, ground: Ground) -> Made:
        self.log(f"bootstrapping {base.reference} for {platform}: CPython {prefix.version} of {prefix.path}")
        with scratch(self.settings.home) as work:
            archive = work / "python.tar"
            with archive.open("wb") as output:
                write_prefix(prefix, output)
            origin = f"CPython {prefix.version} of a local prefix on {ground.origin}"
            self._build_python(base, platform, prefix_recipe(prefix), ground, origin, PYTHON_SERIES, archive)
        return Made(origin, f"bootstrapped from {ground.reference} + CPython {prefix.version} of {prefix.path}")

    def _on_bullseye(self, base: ExternalBase, platform: Platform, ground: Ground, why: str) -> Made:
        self.log(f"bootstrapping {base.reference} for {platform}: the Python 3.9 of Debian bullseye")
        origin = f"Debian's Python 3.9 on {ground.origin}"
        self._build_python(base, platform, debian_recipe(), ground, origin, "3.9", None)
        return Made(origin, f"took the Python 3.9 of {ground.reference}, because {why}")

    def _build_python(
        self,
        base: ExternalBase,
        platform: Platform,
        recipe: PythonRecipe,
        ground: Ground,
        origin: str,
        python: str,
        archive: Path | None,
    ) -> None:
        self._make_runnable(platform)
        files = [ContextFile("Dockerfile", recipe.dockerfile.encode())]
        files += [ContextFile(path, text.encode()) for path, text in sorted(recipe.files.items())]
        if recipe.archive is not None and archive is not None:
            files.append(ContextFile(recipe.archive, archive.read_bytes()))
        self._build(
            base,
            platform,
            files,
            origin,
            labels={LABEL_PYTHON: python},
            arguments={"BASE": ground.local},
            fetches=True,
        )

    def _build(
        self,
        base: ExternalBase,
        platform: Platform,
        files: Sequence[ContextFile],
        origin: str,
        *,
        labels: Mapping[str, str] | None = None,
        arguments: Mapping[str, str] | None = None,
        fetches: bool = False,
    ) -> None:
        """Builds and, when everything went well, names the image: nothing half ever has the local name.

        ``fetches``: its steps need to know the mirrors.
        """
        with scratch(self.settings.home) as folder:
            self.engine.build(
                tar_stream(files),
                dockerfile="Dockerfile",
                tag=base.local_reference(platform),
                platform=docker_platform(platform),
                build_args=arguments or {},
                labels={"org.opencontainers.image.title": base.reference, LABEL_ORIGIN: origin, **(labels or {})},
                secrets=secret_files(folder, self.settings.ca_bundle, self.settings.network_variables)
                if fetches
                else {},
                options=self._options,
                id_file=folder / "id",
                log=self.log,
            )


def _unusable(error: BuildError) -> bool:
    """Whether a build failed because its Python doesn't work, which another Python may mend."""
    return re.search(rf"exit code: {CHECK_FAILED}\b", error.message) is not None
