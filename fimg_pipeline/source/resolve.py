"""From settings to a :class:`SourceSnapshot`: which commits, which trees, with everything checked to be there."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from fimg_pipeline.catalog.packages import PACKAGES, SUBMODULES, Repository, hold_requirements
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.checkout import Checkout, configured
from fimg_pipeline.source.git import AwayError, Git, GitError
from fimg_pipeline.source.history import Commit, commits
from fimg_pipeline.source.model import RepositorySnapshot, SourceError, SourceSnapshot
from fimg_pipeline.source.packages import package_sources
from fimg_pipeline.source.refs import ORIGIN, FateRefs, Releases
from fimg_pipeline.source.requirements import requirement_texts, requirements_date
from fimg_pipeline.source.store import DAMAGED, ObjectStore, Remotes
from fimg_pipeline.source.tags import ref_of
from fimg_pipeline.source.urls import is_safe, joined, local_folder, public_url, web_page
from fimg_pipeline.source.worktree import written_tree
from fimg_pipeline.state import write_whole

#: Refs that do not move once published.
_RELEASE_REF: Final = re.compile(r"v?\d+(?:\.\d+)+")
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
#: ``fate.env`` keys a build needs; a FATE without them is not one we can build.
_REQUIRED_KEYS: Final = ("FATE",)
#: So many characters a fate.env has at most: the real one has not one thousand.
_LONGEST: Final = 100_000
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")


def resolve(
    settings: Settings,
    packages: Iterable[str],
    *,
    pins: Mapping[Repository, RepositorySnapshot] | None = None,
    remotes: Remotes | None = None,
) -> SourceSnapshot:
    """Resolves FATE for ``settings.tag`` and, of the rest, only what ``packages`` (catalog names) need.

    ``pins`` are repositories resolved earlier: they are taken as they were, so that all steps of a run see the same
    source. Repositories that are not in FATE_DIR are fetched into the state folder; ``remotes``: by whoever only looks.
    Raises :class:`SourceError`, or :class:`~fimg_pipeline.source.git.FetchError` when a repository can't be reached, or
    (for whoever only looks) is still being fetched.
    """
    ref = ref_of(settings.home, settings.tag)
    return _Resolver(settings, ref, pins or {}, remotes).snapshot(sorted(set(packages)))


@dataclass(frozen=True)
class Standing:
    """Where FATE is, by a ref that a tag stands for.

    ``lasting``: the ref as it is to be kept, if it stays what it is; else its tag is kept up to date.
    """

    fate: RepositorySnapshot
    lasting: str | None
    latest: Commit

    @property
    def followed(self) -> bool:
        return self.lasting is None


def standing(settings: Settings, ref: str | None, remotes: Remotes | None = None) -> Standing:
    """Where ``settings.tag`` is or would be when it stands for ``ref`` (``None``: FATE_DIR as it stands).

    Raises what :func:`resolve` does.
    """
    resolver = _Resolver(settings, ref, {}, remotes)
    fate = resolver.fate
    found = commits(resolver.store, fate.commit)
    if not found:
        raise SourceError(f"{fate.ref} of FATE is no commit: {fate.commit[:12]}", hint="a tag may name anything in git")
    return Standing(fate, None if ref is None else resolver.refs.lasting(ref), found[0])


def fixed_commits(settings: Settings, refs: Iterable[str]) -> dict[str, str]:
    """Of ``refs`` those that don't move, tags and commits in FATE_DIR, and the commits they are; by one process."""
    return _Resolver(settings, None, {}).refs.fixed(refs)


def absent_refs(settings: Settings, refs: Iterable[str]) -> list[str]:
    """Those of ``refs`` that FATE_DIR has no commit by; by one process."""
    return _Resolver(settings, None, {}).refs.absent(refs)


def origin_tags(settings: Settings, refs: Iterable[str], remotes: Remotes) -> dict[str, str]:
    """Those of ``refs`` that are tags where FATE_DIR was cloned from, and the commits they are; by one question.

    :class:`~fimg_pipeline.source.git.AwayError` when nothing can be asked there.
    """
    return _Resolver(settings, None, {}, remotes).refs.of_origin(refs)


def releases(settings: Settings, remotes: Remotes) -> Releases:
    """FATE's releases, in FATE_DIR and where it was cloned from."""
    return _Resolver(settings, None, {}, remotes).refs.releases()


def fate_identity(settings: Settings) -> str:
    """Tells the FATE that FATE_DIR is of from others: by where it was cloned from, or where it is if it was not.

    However that is asked (https, ssh), and by whom: passwords change.
    """
    origin = _Resolver(settings, None, {}).checkout.urls.get("remote.origin.url") or str(settings.fate_dir.resolve())
    place = re.sub(r"^[a-z]+://([^/:]+)(?::\d+)?/", r"\1/", public_url(origin) or origin)
    return hashlib.sha256(place.rstrip("/").removesuffix(".git").encode()).hexdigest()[:16]


class _Resolver:
    def __init__(
        self,
        settings: Settings,
        ref: str | None,
        pins: Mapping[Repository, RepositorySnapshot],
        remotes: Remotes | None = None,
    ) -> None:
        self.settings = settings
        self.pins = pins
        self.ref = ref
        self.checkout = _fate_checkout(settings.fate_dir)
        self.store = ObjectStore.open(settings.home, (self.checkout.objects,), remotes)

    def snapshot(self, names: Sequence[str]) -> SourceSnapshot:
        fate, fate_env = self.fate, self._fate_env()
        repositories: dict[Repository, RepositorySnapshot] = {"fate": fate}
        for package in names:
            for name in PACKAGES[package].repositories:
                if name not in repositories:
                    repositories[name] = self._repository(name)
        packages = package_sources(self.store, names, repositories)
        date, certain = "", True
        if hold_requirements(names):
            date, certain = requirements_date(self.store, self.checkout, fate)
        return SourceSnapshot(
            fate=fate,
            fate_env=fate_env,
            requirements_date=date,
            requirements_date_certain=certain,
            repositories=repositories,
            packages=packages,
            requirements=requirement_texts(self.store, fate) if hold_requirements(names) else {},
            object_directories=tuple(str(path) for path in self.store.borrowed),
        )

    # -- FATE itself ---------------------------------------------------------------------------------------------

    @property
    def refs(self) -> FateRefs:
        return FateRefs(self.checkout, self.store, self.settings.git_mirror)

    @cached_property
    def fate(self) -> RepositorySnapshot:
        if "fate" in self.pins:
            return self.pins["fate"]
        if self.ref is None:
            return self._as_it_stands("fate", self.checkout)
        settings = self.settings
        try:
            commit = self.refs.commit(self.ref)
        except AwayError:
            # It says so of all that is asked there.
            raise
        except (GitError, SourceError) as error:
            raise type(error)(f"TAG={settings.tag} stands for {self.ref}: {error.message}", hint=error.hint) from None
        if commit is None:
            of_origin = self.ref.startswith(ORIGIN)
            hint = f"git -C {settings.fate_dir} fetch --tags, or take another ref"
            if of_origin:
                hint = "take another ref: fimg tag add"
            elif self.checkout.git.text("rev-parse", "--quiet", "--verify", f"refs/remotes/{ORIGIN}{self.ref}"):
                hint = f"to follow the branch of the origin: --ref {ORIGIN}{self.ref}"
            raise SourceError(
                f"TAG={settings.tag} stands for the git ref {self.ref}, "
                f"which {'the origin of ' if of_origin else ''}FATE_DIR={settings.fate_dir} does not have",
                hint=hint,
            )
        return self._at("fate", self.ref, commit)

    def _at(self, name: Repository, ref: str, commit: str) -> RepositorySnapshot:
        tree = self.store.resolve(f"{commit}^{{tree}}")
        if tree is None:
            raise SourceError(f"{name}: commit {commit} ({ref}) is incomplete: its tree is missing")
        origin = self._location(name)
        return RepositorySnapshot(name, ref, commit, tree, web=web_page(origin), location=origin)

    def _as_it_stands(self, name: Repository, checkout: Checkout) -> RepositorySnapshot:
        """The checkout's HEAD, or where files differ from it the tree they make, written to our own store."""
        head = checkout.head()
        if head is None:
            named = checkout.git.text("rev-parse", "--quiet", "--verify", "HEAD")
            if named is not None:
                raise SourceError(f"{checkout.folder}: the commit it is at, {named[:12]}, can't be read", hint=DAMAGED)
            raise SourceError(f"{checkout.folder} has no commit yet", hint="commit FATE's files first")
        commit, branch = head
        committed = self._at(name, branch, commit)
        tree = written_tree(checkout, self.store.objects, self.settings.home)
        return committed if tree == committed.tree else replace(committed, tree=tree, dirty=True)

    def _fate_env(self) -> dict[str, str]:
        where = f"fate.env at {self.fate.ref} ({self.fate.commit[:12]})"
        blob = self.store.resolve(f"{self.fate.tree}:fate.env")
        if blob is None:
            raise SourceError(
                f"FATE_DIR={self.settings.fate_dir} has no {where}: this is not FATE",
                hint="set FATE_DIR to a checkout of https://github.com/FederatedAI/FATE.git",
            )
        try:
            text = self.store.blob(blob).decode("utf-8", "replace")
        except GitError as error:
            raise SourceError(
                f"FATE_DIR={self.settings.fate_dir}: {where} can't be read: {error.message}", hint=DAMAGED
            ) from None
        if len(text) > _LONGEST:
            raise SourceError(
                f"FATE_DIR={self.settings.fate_dir}: {where} has {len(text)} characters: this is not FATE's"
            )
        lines = {line.key: line.value for line in parse_stream(io.StringIO(text)) if not line.error}
        fate_env = {name: value.strip() for name, value in lines.items() if name and value}
        for name in _REQUIRED_KEYS:
            if name not in fate_env:
                raise SourceError(f"{where} has no line {name}=…")
        for name, value in fate_env.items():
            if not _VERSION.fullmatch(value):
                raise SourceError(f"{where}: {name}={value!r} is no version")
        return fate_env

    # -- submodules and the repositories beside FATE -----------------------------------------------------------------

    def _repository(self, name: Repository) -> RepositorySnapshot:
        if name in SUBMODULES:
            return self._submodule(name)
        if name == "ipcl" and self.settings.ipcl_pkg_dir is not None:
            checkout = _ipcl_checkout(self.settings.ipcl_pkg_dir)
            self.store = self.store.borrowing(checkout.objects)
            return self.pins.get(name) or self._as_it_stands(name, checkout)
        return self._beside(name)

    def _beside(self, name: Repository) -> RepositorySnapshot:
        """A repository that FATE does not pin: read where it is, when that is on this machine, or fetched."""
        variable, url, ref = (
            ("FATE_LLM_URL", self.settings.fate_llm_url, self.settings.llm_version)
            if name == "fate_llm"
            else ("IPCL_URL", self.settings.ipcl_url, self.settings.ipcl_version)
        )
        folder = local_folder(url)
        if folder is not None:
            objects = Git(work_tree=folder).text("rev-parse", "--git-path", "objects")
            if objects is None:
                raise SourceError(f"{variable}={folder} is not a git repository", hint=f"clone it, or unset {variable}")
            self.store = self.store.borrowing((folder / objects).resolve())
        if name in self.pins:
            return self.pins[name]
        if folder is None:
            return self._fetched(name, url, ref, variable)
        commit = Git(work_tree=folder).text("rev-parse", "--quiet", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        if commit is None:
            raise SourceError(f"{variable}={folder} has no {ref}", hint=f"fetch it there, or set {variable} to another")
        return self._at(name, ref, commit)

    def _submodule(self, name: Repository) -> RepositorySnapshot:
        """A submodule at the commit FATE pins, or as it stands in a checkout that is taken as it stands."""
        checkout = self._submodule_checkout(name)
        self.store = self.store.borrowing(
            *([] if checkout is None else [checkout.objects]), self.checkout.modules / name / "objects"
        )
        if name in self.pins:
            return self.pins[name]
        entry = self.store.entry(self.fate.tree, name)
        if entry is None or not entry.submodule:
            raise SourceError(f"FATE at {self.fate.ref} ({self.fate.commit[:12]}) has no submodule {name}")
        pinned = entry.object_id
        if checkout is not None and self.ref is None:
            standing = self._as_it_stands(name, checkout)
            return standing if standing.commit == pinned else replace(standing, dirty=True)
        if self.store.resolve(f"{pinned}^{{tree}}") is None:
            self._fetch_submodule(name, pinned)
        return self._at(name, pinned[:12], pinned)

    def _submodule_checkout(self, name: Repository) -> Checkout | None:
        """The submodule's own checkout if it has one; a broken one is an error, or git would answer with FATE."""
        folder = self.settings.fate_dir / name
        if not (folder / ".git").exists():
            return None
        try:
            checkout = Checkout.at(folder)
        except GitError:
            checkout = None
        if checkout is None or not checkout.is_top:
            raise SourceError(
                f"submodule {name}: {folder}/.git leads to no repository",
                hint=f"git -C {self.settings.fate_dir} submodule update --init --force {name}",
            )
        return checkout

    def _fetch_submodule(self, name: Repository, pinned: str) -> None:
        fate_dir = self.settings.fate_dir
        # A branch may have moved it to where the checkout, which is of another one, does not look.
        known = dict.fromkeys((self.checkout.urls.get(f"submodule.{name}.url"), self._declared_url(name)))
        urls = [url for url in known if url]
        if not urls or not is_safe(urls[0]):
            shown = f"the URL {urls[0]!r}, which is none git may use here" if urls else "no URL"
            raise SourceError(f"submodule {name} is not checked out in {fate_dir}, and .gitmodules has {shown}")
        errors: list[GitError] = []
        for url in filter(is_safe, urls):
            try:
                self.store.fetch(url, pinned, mirror=self.settings.git_mirror)
            except GitError as error:
                errors.append(error)
            else:
                return
        # What may pass comes first.
        why = next((each for each in errors if each.transient), errors[-1])
        raise type(why)(
            f"submodule {name}: commit {pinned[:12]}, pinned by FATE {self.fate.ref}, is not in {fate_dir}; "
            f"{why.message}",
            hint=f"git -C {fate_dir} submodule update --init {name}, or set GIT_MIRROR",
        )

    @cached_property
    def _declared_urls(self) -> Mapping[str, str]:
        """Where FATE's own .gitmodules says its submodules are."""
        return configured(self.store.git, r"^submodule\..*\.url$", "--blob", f"{self.fate.tree}:.gitmodules")

    def _declared_url(self, name: Repository) -> str | None:
        url = self._declared_urls.get(f"submodule.{name}.url")
        if url is not None and url.startswith(("./", "../")):
            return joined(self.checkout.urls.get("remote.origin.url") or str(self.settings.fate_dir), url)
        return url

    def _fetched(self, name: Repository, url: str, ref: str, variable: str) -> RepositorySnapshot:
        if _COMMIT.fullmatch(ref) and self.store.has(f"{ref}^{{tree}}"):
            return self._at(name, ref, ref)
        remembered = (
            self.settings.home / "git" / "refs" / name / hashlib.sha256(f"{url} {ref}".encode()).hexdigest()[:16]
        )
        # A release tag does not move; asking for it again on every plan would make planning need the network.
        if remembered.is_file() and _RELEASE_REF.fullmatch(ref) and self.store.has(remembered.read_text()):
            return self._at(name, ref, remembered.read_text())
        mirror = self.settings.git_mirror
        try:
            # What was fetched while nobody waited for it is known by its commit.
            names = [] if _COMMIT.fullmatch(ref) else [f"refs/tags/{ref}", f"refs/heads/{ref}"]
            there = self.store.remote_refs(url, names, mirror=mirror) if names else {}
            found = next((there[each] for each in names if each in there), None)
            known = found is not None and self.store.has(f"{found}^{{tree}}")
            commit = found if found is not None and known else self.store.fetch(url, ref, mirror=mirror)
        except GitError as error:
            version = "Build_LLM_VERSION" if name == "fate_llm" else "IPCL_VERSION"
            hint = (
                f"set {variable} or GIT_MIRROR to a copy that can be reached" if error.transient else f"set {version}"
            )
            raise type(error)(error.message, hint=hint) from None
        write_whole(remembered, commit)
        return self._at(name, ref, commit)

    def _location(self, name: Repository) -> str:
        """Where the repository comes from, as a URL without a user's name or password in it."""
        if name == "fate_llm":
            url: str | None = self.settings.fate_llm_url
        elif name == "ipcl":
            url = self.settings.ipcl_url
        elif name == "fate":
            url = self.checkout.urls.get("remote.origin.url")
        else:
            url = self._declared_url(name)
        return public_url(url or str(self.settings.fate_dir))


def _fate_checkout(folder: Path) -> Checkout:
    where = f"FATE_DIR={folder}"
    if not folder.is_dir():
        hint = "set FATE_DIR to a git checkout of FATE, in the environment or in .env"
        raise SourceError(f"{where} is not a folder", hint=hint)
    try:
        checkout = Checkout.at(folder)
    except GitError as error:
        if "must be run in a work tree" in error.message:
            raise SourceError(
                f"{where} is a bare repository", hint="set FATE_DIR to a clone of it with its files"
            ) from None
        if "not a git repository" not in error.message:
            raise SourceError(f"{where} can't be read by git: {error.message}", hint=error.hint) from None
        raise SourceError(
            f"{where} is not a git checkout: images are built from commits, which a plain folder has not",
            hint="git clone --recurse-submodules https://github.com/FederatedAI/FATE.git, and set FATE_DIR to it",
        ) from None
    if checkout.object_format == "sha256":
        raise SourceError(f"{where} names its objects by SHA-256, which is not supported", hint="clone it anew")
    if not checkout.is_top:
        raise SourceError(f"{where} is a folder inside another git checkout", hint="set FATE_DIR to FATE's top folder")
    return checkout


def _ipcl_checkout(folder: Path) -> Checkout:
    try:
        checkout = Checkout.at(folder) if folder.is_dir() else None
    except GitError:
        checkout = None
    if checkout is None or not checkout.is_top:
        raise SourceError(f"IPCL_PKG_DIR={folder} is not a git checkout", hint="clone it, or leave IPCL_PKG_DIR unset")
    return checkout
