"""Makes the sample: a FATE checkout with its submodules, FATE-LLM and the Paillier library beside it.

::

    <target>/
        fate/                       checkout, tag v1.11.2, submodules fateflow, fateboard, eggroll
        fateflow.git  fateboard.git  eggroll.git      what the submodules are fetched from
        fate-llm/                   tag v1.2.0
        pailliercryptolib_python/   tag v1.1.3

The content are the files of ``files/``; author, dates and order are fixed, so the commit ids depend on them alone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fimg_pipeline.sample import git
from fimg_pipeline.sample.errors import SampleError

FILES = Path(__file__).with_name("files")
COMMIT_DATE = "2023-06-02T12:00:00+00:00"
"""The sample's moment, at which every pinned requirement was already published."""

FATE = "fate"
FATE_LLM = "fate-llm"
IPCL = "pailliercryptolib_python"
RELEASE_BRANCH = "develop-1.11.2"
FATE_TAG = "v1.11.2"

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SampleSource:
    """Where the parts of a sample are."""

    fate: Path
    fate_llm: Path
    ipcl: Path


@dataclass(frozen=True)
class _Submodule:
    """A submodule of ``fate``: its folder and the branch ``.gitmodules`` names."""

    name: str
    branch: str

    @property
    def origin(self) -> str:
        return f"{self.name}.git"


@dataclass(frozen=True)
class _Library:
    """A repository beside ``fate`` that is built at a tag."""

    folder: str
    files: str
    tag: str


_SUBMODULES = (
    _Submodule("fateboard", "v1.11.1"),
    _Submodule("eggroll", "v2.5.1"),
    _Submodule("fateflow", "v1.11.1"),
)
_LIBRARIES = (_Library(FATE_LLM, "fate-llm", "v1.2.0"), _Library(IPCL, "ipcl", "v1.1.3"))
#: Says that a folder was made here: only then may what is in it be moved.
_MARK = ".fimg-sample"
_OWN_NAMES = frozenset(
    {_MARK, FATE, *(library.folder for library in _LIBRARIES), *(module.origin for module in _SUBMODULES)}
)


def create_sample(target: Path) -> SampleSource:
    """Makes the sample in ``target``, or finds the one that is there.

    A whole sample is left alone, with everything that was committed to it since. What a deletion left of one is moved
    aside (``<target>.incomplete-<n>``) and made anew. A folder that holds anything else is refused, whatever the names.
    """
    target = target.resolve()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(target.parent):
            _create_unless_there(target)
    except OSError as error:
        raise SampleError(
            f"the sample can't be made in {target}: {error.strerror}", hint="take a folder that is yours to write"
        ) from error
    return SampleSource(fate=target / FATE, fate_llm=target / FATE_LLM, ipcl=target / IPCL)


def _create_unless_there(target: Path) -> None:
    present = {entry.name for entry in target.iterdir()} if target.exists() else set()
    if present:
        foreign = sorted(present - _OWN_NAMES)
        defect = None if foreign else _defect(target)
        if not foreign and defect is None:
            return
        if foreign or _MARK not in present:
            held = foreign or sorted(present)
            raise SampleError(
                f"{target} is not a sample: it holds {', '.join(held[:5])}", hint="name an empty or a new folder"
            )
        aside = _free_name(target)
        target.rename(aside)
        _log.warning("the sample in %s was incomplete (%s): made anew, the old one is in %s", target, defect, aside)
    partial = target.with_name(f".{target.name}.partial")
    # The lock is held: what is there was left by a run that was interrupted.
    if partial.exists():
        shutil.rmtree(partial)
    partial.mkdir()
    _build(partial, target)
    partial.rename(target)


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    """Keeps other processes out that make a sample in the same folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _free_name(target: Path) -> Path:
    number = 1
    while (aside := target.with_name(f"{target.name}.incomplete-{number}")).exists():
        number += 1
    return aside


def _defect(target: Path) -> str | None:
    """What keeps the folder from being a whole sample: a repository without its commits; None when nothing does."""
    wanted = [
        *((target / module.origin, module.branch) for module in _SUBMODULES),
        *((target / library.folder / ".git", library.tag) for library in _LIBRARIES),
        (target / FATE / ".git", FATE_TAG),
        *((target / FATE / module.name / ".git", "HEAD") for module in _SUBMODULES),
    ]
    for repository, ref in wanted:
        if not repository.exists():
            return f"{repository.relative_to(target)} is missing"
        try:
            git.run(f"--git-dir={repository}", "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}", cwd=target)
            git.run(f"--git-dir={repository}", "fsck", "--connectivity-only", "--no-dangling", cwd=target)
        except SampleError as error:
            return error.message
    return None


def _build(folder: Path, final: Path) -> None:
    """Makes everything in ``folder``, which is going to be renamed to ``final``."""
    (folder / _MARK).write_text("Made by `fimg sample`.\n", encoding="utf-8")
    pins = {module: _make_origin(folder, module) for module in _SUBMODULES}
    for library in _LIBRARIES:
        repository = folder / library.folder
        _init(repository, "main")
        _stage_files(FILES / library.files, repository)
        _commit(repository, f"Release {library.tag}")
        git.run("tag", library.tag, cwd=repository)
    _make_fate(folder / FATE, pins, final)


def _make_origin(folder: Path, module: _Submodule) -> str:
    """Makes the bare repository of a submodule; returns its commit."""
    work = folder / f"{module.name}.work"
    _init(work, module.branch)
    _stage_files(FILES / module.name, work)
    commit = _commit(work, f"Release {module.branch}")
    origin = folder / module.origin
    git.run("clone", "--quiet", "--bare", work, origin, cwd=folder)
    # It is nobody's clone: the folder it came from goes away.
    git.run("remote", "remove", "origin", cwd=origin)
    shutil.rmtree(work)
    return commit


def _make_fate(repository: Path, pins: dict[_Submodule, str], final: Path) -> None:
    _init(repository, "master")
    (repository / ".gitmodules").write_text("".join(map(_gitmodules_section, pins)), encoding="utf-8")
    _stage_files(FILES / "fate", repository)
    for module, commit in pins.items():
        git.run("update-index", "--add", "--cacheinfo", f"160000,{commit},{module.name}", cwd=repository)
    _commit(repository, f"Release {FATE_TAG}")
    # FATE's releases carry both kinds of tags: this one is an object of its own, the libraries' are not.
    git.run("tag", "--annotate", "--message", f"FATE {FATE_TAG}", FATE_TAG, cwd=repository, date=COMMIT_DATE)
    git.run("branch", RELEASE_BRANCH, cwd=repository)
    git.run("submodule", "--quiet", "update", "--init", cwd=repository)
    for module in pins:
        # git noted the absolute path of the folder as it is called now.
        url = str(final / module.origin)
        git.run("config", f"submodule.{module.name}.url", url, cwd=repository)
        git.run("config", "remote.origin.url", url, cwd=repository / module.name)


def _gitmodules_section(module: _Submodule) -> str:
    lines = (
        f'[submodule "{module.name}"]',
        f"\tpath = {module.name}",
        f"\turl = ../{module.origin}",
        f"\tbranch = {module.branch}",
    )
    return "\n".join(lines) + "\n"


def _init(repository: Path, branch: str) -> None:
    repository.mkdir()
    git.run("init", "--quiet", f"--initial-branch={branch}", cwd=repository)


def _stage_files(source: Path, repository: Path) -> None:
    """Copies ``source`` into the repository and stages all it holds."""
    for path in sorted(source.rglob("*")):
        # Installing the project compiles the sample's Python files where they lie.
        if path.is_dir() or "__pycache__" in path.parts:
            continue
        copy = repository / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        copy.write_bytes(content)
        # An installation may lose the files' modes, so they follow from the content.
        copy.chmod(0o755 if content.startswith(b"#!") else 0o644)
    git.run("add", "--all", "--force", cwd=repository)


def _commit(repository: Path, message: str) -> str:
    """Commits what is staged; returns the commit."""
    git.run("commit", "--quiet", "--message", message, cwd=repository, date=COMMIT_DATE)
    return git.run("rev-parse", "HEAD", cwd=repository)
