"""From settings to a :class:`SourceSnapshot`: which commits, which trees, with everything checked to be there."""

from __future__ import annotations

import configparser
import hashlib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dotenv import dotenv_values

from fimg_pipeline.catalog.packages import PACKAGES, SUBMODULES, Package, Part, Repository
from fimg_pipeline.settings import Settings
from fimg_pipeline.source.git import Git, GitError, complaint
from fimg_pipeline.source.model import PackagePart, PackageSource, RepositorySnapshot, SourceError, SourceSnapshot
from fimg_pipeline.source.requirements import requirement_texts, requirements_date
from fimg_pipeline.source.store import FOLDER, ObjectStore, TreeEntry
from fimg_pipeline.source.worktree import written_tree

_RELEASE_TAG: Final = re.compile(r"(\d+\.\d+\.\d+)-release")
#: Refs that do not move once published.
_RELEASE_REF: Final = re.compile(r"v?\d+(?:\.\d+)+")
_COMMIT: Final = re.compile(r"[0-9a-f]{40,64}")
#: Transports git may use for a submodule; what .gitmodules says is input like any other (``ext::`` runs programs).
_SAFE_URL: Final = re.compile(r"(?:(?:https?|ssh|git|file)://|/)[^\s\x00-\x1f]+|[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:[^\s]+")
#: ``fate.env`` keys a build needs; a FATE without them is not one we can build.
_REQUIRED_KEYS: Final = ("FATE",)
_VERSION: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+-]{0,63}")
_MISSING_SHOWN: Final = 10
_DAMAGED: Final = "the clone is partial or damaged: fetch it anew, without --filter"


def git_ref_of(tag: str) -> str | None:
    """The git ref a tag stands for: ``1.11.2-release`` → ``v1.11.2``; ``None``: FATE_DIR as it stands."""
    match = _RELEASE_TAG.fullmatch(tag)
    return f"v{match[1]}" if match else None


def resolve(
    settings: Settings,
    packages: Iterable[str],
    *,
    pins: Mapping[Repository, RepositorySnapshot] | None = None,
) -> SourceSnapshot:
    """Resolves FATE for ``settings.tag`` and, of the rest, only what ``packages`` (catalog names) need.

    ``pins`` are repositories resolved earlier: they are taken as they were, so that all steps of a run see the same
    source. Repositories that are not in FATE_DIR are fetched into the state folder. Raises :class:`SourceError`, or
    :class:`~fimg_pipeline.source.git.FetchError` when a repository can't be reached.
    """
    return _Resolver(settings, pins or {}).snapshot(sorted(set(packages)))


class _Resolver:
    def __init__(self, settings: Settings, pins: Mapping[Repository, RepositorySnapshot]) -> None:
        self.settings = settings
        self.pins = pins
        self.checkout = settings.fate_dir
        self.user = Git(work_tree=self.checkout)
        self._check_checkout()
        self.store = ObjectStore.open(settings.home, (self._object_directory(self.user),))

    def snapshot(self, names: Sequence[str]) -> SourceSnapshot:
        fate = self.pins.get("fate") or self._fate()
        fate_env = self._fate_env(fate)
        repositories: dict[Repository, RepositorySnapshot] = {"fate": fate}
        sources: dict[str, PackageSource] = {}
        for name in names:
            package = PACKAGES[name]
            for repository in package.repositories:
                if repository not in repositories:
                    repositories[repository] = self._repository(repository, fate)
            try:
                sources[name] = self._package(package, repositories)
            except SourceError:
                raise
            except GitError as error:
                origin = repositories[package.repositories[0]]
                where = f"{origin.name} at {origin.ref} ({origin.commit[:12]})"
                raise SourceError(
                    f"package {name}: {where} can't be read: {error.message}",
                    hint=error.hint or _DAMAGED,
                ) from None
        return SourceSnapshot(
            fate=fate,
            fate_env=fate_env,
            requirements_date=requirements_date(self.store, self.user, fate) if "requirements" in names else "",
            repositories=repositories,
            packages=sources,
            requirements=requirement_texts(self.store, fate) if "requirements" in names else {},
            object_directories=tuple(str(path) for path in self.store.borrowed),
        )

    def _check_checkout(self) -> None:
        where = f"FATE_DIR={self.checkout}"
        if not self.checkout.is_dir():
            raise SourceError(f"{where} is not a folder", hint="set FATE_DIR to a git checkout of FATE")
        inside = self.user.run("rev-parse", "--show-toplevel")
        if inside.returncode != 0:
            words = complaint(inside.stderr)
            if "must be run in a work tree" in words:
                raise SourceError(f"{where} is a bare repository", hint="set FATE_DIR to a clone of it with its files")
            if "not a git repository" not in words:
                raise SourceError(f"{where} can't be read by git: {words}")
            raise SourceError(
                f"{where} is not a git checkout: images are built from commits, which a plain folder has not",
                hint="git clone --recurse-submodules https://github.com/FederatedAI/FATE.git, and set FATE_DIR to it",
            )
        if self.user.text("rev-parse", "--show-object-format") == "sha256":
            raise SourceError(f"{where} names its objects by SHA-256, which is not supported", hint="clone it anew")
        if Path(inside.stdout.decode("utf-8", "surrogateescape").rstrip("\n")).resolve() != self.checkout.resolve():
            raise SourceError(
                f"{where} is a folder inside another git checkout", hint="set FATE_DIR to FATE's top folder"
            )

    def _object_directory(self, git: Git) -> Path:
        path = git.text("rev-parse", "--git-path", "objects")
        if path is None or git.work_tree is None:
            raise SourceError(f"{git.work_tree} has no git object store")
        return (git.work_tree / path).resolve()

    # -- FATE itself ---------------------------------------------------------------------------------------------

    def _fate(self) -> RepositorySnapshot:
        ref = git_ref_of(self.settings.tag)
        if ref is None:
            return self._as_it_stands("fate", self.user)
        found = self.user.text("rev-parse", "--quiet", "--verify", f"refs/tags/{ref}^{{commit}}") or self.user.text(
            "rev-parse", "--quiet", "--verify", "--end-of-options", f"{ref}^{{commit}}"
        )
        if found is None:
            raise SourceError(
                f"TAG={self.settings.tag} stands for the git ref {ref}, which FATE_DIR={self.checkout} does not have",
                hint=f"git -C {self.checkout} fetch --tags, or choose another TAG",
            )
        return self._at("fate", ref, found)

    def _at(self, name: Repository, ref: str, commit: str) -> RepositorySnapshot:
        tree = self.store.resolve(f"{commit}^{{tree}}")
        if tree is None:
            raise SourceError(f"{name}: commit {commit} ({ref}) is incomplete: its tree is missing")
        return RepositorySnapshot(name, ref, commit, tree, web=self._web(name))

    def _as_it_stands(self, name: Repository, git: Git) -> RepositorySnapshot:
        """The checkout's HEAD, or where files differ from it the tree they make, written to our own store."""
        commit = git.text("rev-parse", "--quiet", "--verify", "HEAD^{commit}")
        if commit is None:
            named = git.text("rev-parse", "--quiet", "--verify", "HEAD")
            if named is not None:
                raise SourceError(f"{git.work_tree}: the commit it is at, {named[:12]}, can't be read", hint=_DAMAGED)
            raise SourceError(f"{git.work_tree} has no commit yet", hint="commit FATE's files first")
        branch = git.text("symbolic-ref", "--quiet", "--short", "HEAD") or "HEAD"
        committed = self._at(name, branch, commit)
        tree = written_tree(git, self.store.objects)
        return committed if tree == committed.tree else replace(committed, tree=tree, dirty=True)

    def _fate_env(self, fate: RepositorySnapshot) -> dict[str, str]:
        blob = self.store.resolve(f"{fate.tree}:fate.env")
        if blob is None:
            raise SourceError(
                f"FATE_DIR={self.checkout} has no fate.env at {fate.ref} ({fate.commit[:12]}): this is not FATE",
                hint="set FATE_DIR to a checkout of https://github.com/FederatedAI/FATE.git",
            )
        try:
            text = self.store.blob(blob).decode("utf-8", "replace")
        except GitError as error:
            raise SourceError(
                f"FATE_DIR={self.checkout}: fate.env at {fate.ref} ({fate.commit[:12]}) can't be read: {error.message}",
                hint=_DAMAGED,
            ) from None
        values = dotenv_values(stream=io.StringIO(text), interpolate=False)
        fate_env = {name: value.strip() for name, value in values.items() if value}
        for name in _REQUIRED_KEYS:
            if name not in fate_env:
                raise SourceError(f"fate.env at {fate.ref} ({fate.commit[:12]}) has no line {name}=…")
        for name, value in fate_env.items():
            if not _VERSION.fullmatch(value):
                raise SourceError(f"fate.env at {fate.ref} ({fate.commit[:12]}): {name}={value!r} is no version")
        return fate_env

    # -- submodules and the repositories beside FATE -----------------------------------------------------------------

    def _repository(self, name: Repository, fate: RepositorySnapshot) -> RepositorySnapshot:
        if name in SUBMODULES:
            self._borrow_submodule(name)
        elif name == "ipcl" and self.settings.ipcl_pkg_dir is not None:
            self._borrow_checkout(self.settings.ipcl_pkg_dir, "IPCL_PKG_DIR")
        elif (folder := _local_folder(self._url(name))) is not None:
            self.store = self.store.borrowing(self._object_directory(Git(work_tree=folder)))
        if name in self.pins:
            return self.pins[name]
        if name in SUBMODULES:
            return self._submodule(name, fate)
        if name == "fate_llm":
            return self._beside(name, self.settings.llm_version, "FATE_LLM_URL")
        if self.settings.ipcl_pkg_dir is not None:
            return self._as_it_stands(name, Git(work_tree=self.settings.ipcl_pkg_dir))
        return self._beside(name, self.settings.ipcl_version, "IPCL_URL")

    def _url(self, name: Repository) -> str:
        return self.settings.fate_llm_url if name == "fate_llm" else self.settings.ipcl_url

    def _beside(self, name: Repository, ref: str, variable: str) -> RepositorySnapshot:
        """A repository that FATE does not pin: read where it is, when that is on this machine, or fetched."""
        url = self._url(name)
        folder = _local_folder(url)
        if folder is None:
            return self._fetched(name, url, ref, variable)
        commit = Git(work_tree=folder).text("rev-parse", "--quiet", "--verify", "--end-of-options", f"{ref}^{{commit}}")
        if commit is None:
            raise SourceError(f"{variable}={folder} has no {ref}", hint=f"fetch it there, or set {variable} to another")
        return self._at(name, ref, commit)

    def _submodule(self, name: Repository, fate: RepositorySnapshot) -> RepositorySnapshot:
        entry = self.store.entry(fate.tree, name)
        if entry is None or not entry.submodule:
            raise SourceError(f"FATE at {fate.ref} ({fate.commit[:12]}) has no submodule {name}")
        pinned = entry.object_id
        if self._checked_out(name) and git_ref_of(self.settings.tag) is None:
            standing = self._as_it_stands(name, Git(work_tree=self.checkout / name))
            return standing if standing.commit == pinned else replace(standing, dirty=True)
        if self.store.resolve(f"{pinned}^{{tree}}") is None:
            self._fetch_submodule(name, pinned, fate)
        return self._at(name, pinned[:12], pinned)

    def _checked_out(self, name: Repository) -> bool:
        """Whether the submodule has a checkout of its own; a broken one is an error, or git would answer with FATE."""
        folder = self.checkout / name
        if not (folder / ".git").exists():
            return False
        top = Git(work_tree=folder).text("rev-parse", "--show-toplevel")
        if top is None or Path(top).resolve() != folder.resolve():
            raise SourceError(
                f"submodule {name}: {folder}/.git leads to no repository",
                hint=f"git -C {self.checkout} submodule update --init --force {name}",
            )
        return True

    def _borrow_submodule(self, name: Repository) -> None:
        """Reads the submodule's objects where FATE_DIR has them: its checkout, or ``.git/modules``."""
        module = self.user.text("rev-parse", "--git-path", f"modules/{name}/objects")
        self.store = self.store.borrowing(
            *([self._object_directory(Git(work_tree=self.checkout / name))] if self._checked_out(name) else []),
            *([(self.checkout / module).resolve()] if module else []),
        )

    def _fetch_submodule(self, name: Repository, pinned: str, fate: RepositorySnapshot) -> None:
        url = self.user.text("config", "--get", f"submodule.{name}.url") or self._declared_url(name, fate)
        if url is None or not _SAFE_URL.fullmatch(url):
            shown = "no URL" if url is None else f"the URL {url!r}, which is none git may use here"
            raise SourceError(f"submodule {name} is not checked out in {self.checkout}, and .gitmodules has {shown}")
        try:
            self.store.fetch(url, pinned, mirror=self.settings.git_mirror)
        except GitError as error:
            raise type(error)(
                f"submodule {name}: commit {pinned[:12]}, pinned by FATE {fate.ref}, is not in {self.checkout}; "
                f"{error.message}",
                hint=f"git -C {self.checkout} submodule update --init {name}, or set GIT_MIRROR",
            ) from None

    def _declared_url(self, name: Repository, fate: RepositorySnapshot) -> str | None:
        blob = self.store.resolve(f"{fate.tree}:.gitmodules")
        if blob is None:
            return None
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        try:
            text = self.store.blob(blob).decode("utf-8", "replace")
            parser.read_string("\n".join(line.strip() for line in text.splitlines()))
            url = parser.get(f'submodule "{name}"', "url")
        except configparser.Error:
            return None
        if url.startswith(("./", "../")):
            origin = self.user.text("config", "--get", "remote.origin.url") or str(self.checkout)
            return _joined(origin, url)
        return url

    def _borrow_checkout(self, folder: Path, variable: str) -> None:
        local = Git(work_tree=folder)
        top = local.text("rev-parse", "--show-toplevel") if folder.is_dir() else None
        if top is None or Path(top).resolve() != folder.resolve():
            raise SourceError(f"{variable}={folder} is not a git checkout", hint=f"clone it, or leave {variable} unset")
        self.store = self.store.borrowing(self._object_directory(local))

    def _fetched(self, name: Repository, url: str, ref: str, variable: str) -> RepositorySnapshot:
        if _COMMIT.fullmatch(ref) and self.store.has(f"{ref}^{{tree}}"):
            return self._at(name, ref, ref)
        remembered = (
            self.settings.home / "git" / "refs" / name / hashlib.sha256(f"{url} {ref}".encode()).hexdigest()[:16]
        )
        # A release tag does not move; asking for it again on every plan would make planning need the network.
        if remembered.is_file() and _RELEASE_REF.fullmatch(ref) and self.store.has(remembered.read_text()):
            return self._at(name, ref, remembered.read_text())
        try:
            commit = self.store.fetch(url, ref, mirror=self.settings.git_mirror)
        except GitError as error:
            version = "Build_LLM_VERSION" if name == "fate_llm" else "IPCL_VERSION"
            hint = (
                f"set {variable} or GIT_MIRROR to a copy that can be reached" if error.transient else f"set {version}"
            )
            raise type(error)(error.message, hint=hint) from None
        remembered.parent.mkdir(parents=True, exist_ok=True)
        temporary = remembered.with_suffix(".new")
        temporary.write_text(commit)
        temporary.replace(remembered)
        return self._at(name, ref, commit)

    def _web(self, name: Repository) -> str | None:
        """The repository's page, for links to commits; only for plain https remotes without a user in them."""
        if name in ("fate_llm", "ipcl"):
            url: str | None = self._url(name)
        elif name == "fate":
            url = self.user.text("config", "--get", "remote.origin.url")
        else:
            url = self.user.text("config", "--file", ".gitmodules", "--get", f"submodule.{name}.url")
        if url is None or not re.fullmatch(r"https://[A-Za-z0-9.:-]+/[A-Za-z0-9._/-]+", url):
            return None
        return url.removesuffix("/").removesuffix(".git")

    # -- packages ------------------------------------------------------------------------------------------------

    def _package(self, package: Package, repositories: dict[Repository, RepositorySnapshot]) -> PackageSource:
        parts: list[PackagePart] = []
        missing: list[str] = []
        identity = hashlib.sha256()
        for part in package.parts:
            repository = repositories[part.repository]
            where = f"package {package.name}: {repository.name} at {repository.ref} ({repository.commit[:12]})"
            entry = self._part_entry(repository, part, where)
            files = self.store.select(entry.object_id, part.pattern) if entry.folder else [entry]
            if not files and part.pattern is not None:
                raise SourceError(f"{where} has no file {part.path}/{part.pattern}")
            parts.append(PackagePart(entry.object_id, part.destination, part.pattern))
            lacking = self.store.absent(files)
            missing += [f"{part.path}/{file.path}".lstrip("/") if entry.folder else part.path for file in lacking]
            # An object's id says it all, except where only some of a folder's files go in: then their names and ids.
            content = (
                entry.object_id
                if part.pattern is None
                else "\0".join(f"{file.path} {file.mode} {file.object_id}" for file in files)
            )
            identity.update(f"{part.destination}\0{content}\0".encode("utf-8", "surrogateescape"))
        if missing and not package.may_lack_files:
            shown = ", ".join(missing[:_MISSING_SHOWN]) + (" …" if len(missing) > _MISSING_SHOWN else "")
            raise SourceError(
                f"package {package.name}: the content of {len(missing)} files is missing from the repository: {shown}",
                hint=_DAMAGED,
            )
        identity.update("\0".join(missing).encode("utf-8", "surrogateescape"))
        return PackageSource(package.name, identity.hexdigest(), tuple(parts), tuple(missing))

    def _part_entry(self, repository: RepositorySnapshot, part: Part, where: str) -> TreeEntry:
        """What the repository has at the part's path: a file or a folder, or all of it."""
        if not part.path:
            return TreeEntry("", FOLDER, repository.tree)
        entry = self.store.entry(repository.tree, part.path)
        if entry is None:
            raise SourceError(f"{where} has no {part.path}")
        if entry.symlink or entry.submodule:
            raise SourceError(f"{where}: {part.path} is a {'symbolic link' if entry.symlink else 'submodule'}")
        return entry


def _local_folder(url: str) -> Path | None:
    """The folder a git URL names, when it is one on this machine."""
    folder = Path(url.removeprefix("file://"))
    return folder if folder.is_absolute() and folder.is_dir() else None


def _joined(origin: str, relative: str) -> str:
    """A relative submodule URL against its superproject's, as git does it (gitsubmodules)."""
    base = origin.rstrip("/")
    for segment in relative.split("/"):
        if segment == "..":
            base = base.rpartition("/")[0]
        elif segment not in (".", ""):
            base = f"{base}/{segment}"
    return base
