"""A checkout as it stands, uncommitted changes included, as a git tree."""

from __future__ import annotations

from pathlib import Path
from shutil import copy2, copyfile

from fimg_pipeline.source.checkout import Checkout
from fimg_pipeline.source.git import Git, GitError
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.store import SUBMODULE
from fimg_pipeline.state import scratch


def written_tree(checkout: Checkout, objects: Path, home: Path) -> str:
    """The tree of a working folder as it is now, written to ``objects``; submodules as its index has them.

    Ignored files are left out. The git folder used is one of ours for the moment, below ``home``, with a copy of the
    checkout's index (so that unchanged files are not read again): nothing is written to the checkout, and nothing its
    own configuration names is run.
    """
    with scratch(home) as own:
        (own / "refs").mkdir()
        (own / "HEAD").write_text("ref: refs/heads/none\n")
        (own / "config").write_text("[core]\n\trepositoryformatversion = 0\n\tbare = false\n\tsplitIndex = false\n")
        if checkout.index.is_file():
            # With their times: a file changed in the second the index was written is told by them alone.
            copy2(checkout.index, own / "index")
            for shared in checkout.index.parent.glob("sharedindex.*"):
                copy2(shared, own / shared.name)
        if checkout.exclude.is_file():
            (own / "info").mkdir()
            copyfile(checkout.exclude, own / "info/exclude")
        snapshot = Git(
            git_dir=own,
            environment={
                "GIT_WORK_TREE": str(checkout.folder),
                "GIT_OBJECT_DIRECTORY": str(objects),
                # The checkout's own objects stay out of sight: git would renew the time of those it meets again.
                "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
            },
            directory=checkout.folder,
        )
        modules = _submodules(snapshot)
        try:
            snapshot.output("add", "--all", "--", ".", *(f":(exclude,literal){path}" for path in modules))
        except GitError as error:
            raise SourceError(
                f"{checkout.folder} can't be taken as it stands: {error.message}",
                hint=f"git -C {checkout.folder} status shows what is not committed: commit, ignore or remove it",
            ) from None
        nested = [path for path in _submodules(snapshot) if path not in modules]
        if nested:
            raise SourceError(
                f"{checkout.folder} holds git repositories that are no submodules: {', '.join(nested[:5])}",
                hint="their files would be missing: move them out, or have git ignore them",
            )
        return snapshot.output("write-tree", "--missing-ok").decode("ascii").strip()


def _submodules(repository: Git) -> list[str]:
    """Paths of the submodules in the index."""
    staged = repository.output("ls-files", "--stage", "-z").decode("utf-8", "surrogateescape").split("\0")
    return [row.partition("\t")[2] for row in staged if row.startswith(f"{SUBMODULE} ")]
