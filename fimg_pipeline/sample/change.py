"""A commit on top of the sample, for tests and the demo."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

from fimg_pipeline.sample import git
from fimg_pipeline.sample.errors import SampleError


def commit_change(repository: Path, relative_path: str, text: str, message: str) -> str:
    """Writes one file and commits it, and nothing else that may be staged; returns the new commit of ``repository``.

    A path inside a submodule is committed there and pushed to the branch ``.gitmodules`` names, then ``repository``
    is moved on to that commit. Dates follow the last commit by a minute: the same changes give the same ids.
    """
    repository = repository.resolve()
    path = (repository / relative_path).resolve()
    if not path.is_relative_to(repository) or path == repository or ".git" in path.relative_to(repository).parts:
        raise SampleError(f"{relative_path} is not a file of the repository {repository}")
    submodule = _submodule_of(repository, path)
    if submodule is None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise SampleError(f"cannot write {path}: {error}") from error
        return _commit_path(repository, path.relative_to(repository).as_posix(), message)
    folder = repository / submodule
    commit_change(folder, path.relative_to(folder).as_posix(), text, message)
    branch = git.run("config", "--file", ".gitmodules", f"submodule.{submodule}.branch", cwd=repository)
    git.run("push", "--quiet", "origin", f"HEAD:refs/heads/{branch}", cwd=folder)
    return _commit_path(repository, submodule, message)


def _submodule_of(repository: Path, path: Path) -> str | None:
    """The submodule that ``path`` lies in, as its folder relative to ``repository``."""
    for line in git.run("ls-files", "--stage", cwd=repository).splitlines():
        entry, _, folder = line.partition("\t")
        if entry.startswith("160000 ") and path.is_relative_to(repository / folder):
            return folder
    return None


def _commit_path(repository: Path, relative_path: str, message: str) -> str:
    git.run("add", "--force", "--", relative_path, cwd=repository)
    if not git.run("diff", "--name-only", "HEAD", "--", relative_path, cwd=repository):
        raise SampleError(f"{relative_path} in {repository} is committed already as it is: nothing to commit")
    last = datetime.fromisoformat(git.run("show", "--no-patch", "--format=%cI", "HEAD", cwd=repository))
    date = (last + timedelta(minutes=1)).isoformat()
    git.run("commit", "--quiet", "--only", "--message", message, "--", relative_path, cwd=repository, date=date)
    return git.run("rev-parse", "HEAD", cwd=repository)
