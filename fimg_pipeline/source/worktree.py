"""A checkout as it stands, uncommitted changes included, as a git tree."""

from __future__ import annotations

import tempfile
from pathlib import Path
from shutil import copy2, copyfile

from fimg_pipeline.source.git import Git, GitError
from fimg_pipeline.source.model import SourceError


def written_tree(git: Git, objects: Path) -> str:
    """The tree of a working folder as it is now, written to ``objects``; submodules as its index has them.

    Ignored files are left out. The git folder used is a temporary one of ours with a copy of the checkout's index (so
    that unchanged files are not read again): nothing is written to the checkout, and nothing its own configuration
    names is run.
    """
    assert git.work_tree is not None
    where = {name: git.text("rev-parse", "--git-path", name) for name in ("index", "info/exclude")}
    paths = {name: git.work_tree / path for name, path in where.items() if path is not None}
    with tempfile.TemporaryDirectory(prefix="fimg-index-") as folder:
        own = Path(folder)
        (own / "refs").mkdir()
        (own / "HEAD").write_text("ref: refs/heads/none\n")
        (own / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tsplitIndex = false\n")
        if "index" in paths and paths["index"].is_file():
            # With their times: a file changed in the second the index was written is told by them alone.
            copy2(paths["index"], own / "index")
            for shared in paths["index"].parent.glob("sharedindex.*"):
                copy2(shared, own / shared.name)
        if "info/exclude" in paths and paths["info/exclude"].is_file():
            (own / "info").mkdir()
            copyfile(paths["info/exclude"], own / "info/exclude")
        snapshot = Git(
            git_dir=own,
            environment={
                "GIT_WORK_TREE": str(git.work_tree),
                "GIT_OBJECT_DIRECTORY": str(objects),
                # The checkout's own objects stay out of sight: git would renew the time of those it meets again.
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
            },
            directory=git.work_tree,
        )
        modules = _submodules(snapshot)
        try:
            snapshot.output("add", "--all", "--", ".", *(f":(exclude,literal){path}" for path in modules))
        except GitError as error:
            raise SourceError(
                f"{git.work_tree} can't be taken as it stands: {error.message}",
                hint=f"git -C {git.work_tree} status shows what is not committed: commit, ignore or remove it",
            ) from None
        nested = [path for path in _submodules(snapshot) if path not in modules]
        if nested:
            raise SourceError(
                f"{git.work_tree} holds git repositories that are no submodules: {', '.join(nested[:5])}",
                hint="their files would be missing: move them out, or have git ignore them",
            )
        return snapshot.output("write-tree", "--missing-ok").decode("ascii").strip()


def _submodules(repository: Git) -> list[str]:
    """Paths of the submodules in the index."""
    staged = repository.output("ls-files", "--stage", "-z").decode("utf-8", "surrogateescape").split("\0")
    return [row.partition("\t")[2] for row in staged if row.startswith("160000 ")]
