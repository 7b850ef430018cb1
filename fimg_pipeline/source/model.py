"""The source of one build, resolved: what the plan decides on. Plain data, equal when the source is equal."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from fimg_pipeline.catalog.packages import PACKAGES, Repository, hold_requirements
from fimg_pipeline.errors import FimgError


class SourceError(FimgError):
    """FATE_DIR, a ref, a submodule or part of the content is not what a build needs."""


@dataclass(frozen=True)
class RepositorySnapshot:
    """One repository at one commit.

    ``tree`` is the id of the root tree: the commit's, or the one of the working folder where ``dirty``. ``web`` is a
    page for people to look the commit up, when the origin has one; ``location`` is a URL to get it from, empty where
    the origin has none one may show.
    """

    name: Repository
    ref: str
    commit: str
    tree: str
    dirty: bool = False
    web: str | None = None
    location: str = ""

    def compared_to(self, before: str | None) -> str | None:
        """A page with what came since the commit ``before``, if that is another and there is such a page."""
        if self.web is None or not before or before == self.commit:
            return None
        return f"{self.web}/compare/{before}...{self.commit}"


@dataclass(frozen=True)
class PackagePart:
    """A git object and where it goes in the package; ``pattern`` as in the catalog."""

    object_id: str
    destination: str
    pattern: str | None = None


@dataclass(frozen=True)
class PackageSource:
    """What a package is made of. ``content`` identifies it: equal content, equal package.

    ``missing`` lists paths that the available copies of the repository lack and that are left out.
    """

    name: str
    content: str
    parts: tuple[PackagePart, ...]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourceSnapshot:
    """FATE at one commit with everything it pins, as far as the asked-for packages need it.

    ``fate_env`` are the lines of FATE's ``fate.env``. ``requirements_date`` (``YYYY-MM-DD``) is the first day FATE's
    requirement files were as they are, empty when no asked-for package needs them, and not certain in a clone whose
    history was cut. ``requirements`` is their text by name.
    """

    fate: RepositorySnapshot
    fate_env: Mapping[str, str]
    requirements_date: str
    repositories: Mapping[Repository, RepositorySnapshot]
    packages: Mapping[str, PackageSource]
    requirements: Mapping[str, str] = field(default_factory=dict)
    requirements_date_certain: bool = True
    object_directories: tuple[str, ...] = field(default=(), compare=False)

    def only(self, packages: Collection[str]) -> SourceSnapshot:
        """The part that ``packages`` need: what resolving them alone would have found."""
        needed = {"fate", *(repository for name in packages for repository in PACKAGES[name].repositories)}
        return replace(
            self,
            requirements_date=self.requirements_date if hold_requirements(packages) else "",
            requirements_date_certain=self.requirements_date_certain or not hold_requirements(packages),
            requirements=self.requirements if hold_requirements(packages) else {},
            repositories={name: found for name, found in self.repositories.items() if name in needed},
            packages={name: self.packages[name] for name in packages},
        )

    @property
    def dirty(self) -> bool:
        """Whether anything in it differs from a commit."""
        return any(repository.dirty for repository in self.repositories.values())

    @property
    def origin(self) -> RepositorySnapshot:
        """FATE's commit as what is built from all repositories has to name it: dirty when any of them is."""
        return replace(self.fate, dirty=self.dirty)

    @property
    def version(self) -> str:
        """FATE's version, ``1.11.2``."""
        return self.fate_env["FATE"]
