"""Which commit a ref of FATE is: in FATE_DIR, or in the repository FATE_DIR was cloned from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from fimg_pipeline.source.checkout import Checkout
from fimg_pipeline.source.git import AwayError
from fimg_pipeline.source.model import SourceError
from fimg_pipeline.source.store import ObjectStore
from fimg_pipeline.source.urls import is_safe

#: What a branch of the repository FATE_DIR was cloned from begins with, as git has it.
ORIGIN: Final = "origin/"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_NUMBER: Final = "(?:0|[1-9][0-9]{0,8})"
_VERSION: Final = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}")


@dataclass(frozen=True)
class Releases:
    """Tags by version, ``1.11.2`` → ``v1.11.2``; ``away``: why the origin's are not among them, if so."""

    tags: Mapping[str, str]
    away: str = ""


def follows(ref: str | None) -> bool:
    """Whether a ref (``None``: FATE_DIR as it stands) moves, as far as its name alone says so."""
    return ref is None or ref.startswith(ORIGIN)


@dataclass(frozen=True)
class FateRefs:
    """FATE's refs: those of ``checkout``, and those of its origin, whose commits come into ``store``."""

    checkout: Checkout
    store: ObjectStore
    mirror: str | None

    def commit(self, ref: str) -> str | None:
        """The commit of ``ref``, brought into the store where FATE_DIR does not have it; ``None``: there is no such.

        ``origin/BRANCH`` is that branch of the origin as it is now, whenever FATE_DIR was last fetched into. Any other
        is a tag, a branch or a commit in FATE_DIR, or else a tag of the origin. :class:`SourceError` where the origin
        can't be used, :class:`~fimg_pipeline.source.git.FetchError` where it can't be reached.
        """
        if ref.startswith(ORIGIN):
            return self._from_origin(self.origin, f"refs/heads/{ref.removeprefix(ORIGIN)}")
        git = self.checkout.git
        here = git.text("rev-parse", "--quiet", "--verify", f"refs/tags/{ref}^{{commit}}") or git.text(
            "rev-parse", "--quiet", "--verify", "--end-of-options", f"{ref}^{{commit}}"
        )
        if here is not None or "remote.origin.url" not in self.checkout.urls:
            return here
        return self._from_origin(self.origin, f"refs/tags/{ref}")

    def fixed(self, refs: Iterable[str]) -> dict[str, str]:
        """Of ``refs`` the tags and commits that FATE_DIR has, which stay what they are; by one process."""
        asked = {ref: f"{ref if _COMMIT.fullmatch(ref) else f'refs/tags/{ref}'}^{{commit}}" for ref in refs}
        if not asked:
            return {}
        lines = "\n".join(asked.values()).encode()
        answers = self.checkout.git.output("cat-file", "--batch-check=%(objectname)", "--buffer", stdin=lines)
        rows = zip(asked, answers.decode("ascii", "replace").splitlines(), strict=True)
        return {ref: answer for ref, answer in rows if not answer.endswith(" missing")}

    def absent(self, refs: Iterable[str]) -> list[str]:
        """Those of ``refs`` that FATE_DIR has no commit by, whatever they are; by one process."""
        asked = list(refs)
        if not asked:
            return []
        lines = "\n".join(f"{ref}^{{commit}}" for ref in asked).encode()
        answers = self.checkout.git.output("cat-file", "--batch-check=%(objectname)", "--buffer", stdin=lines)
        rows = zip(asked, answers.decode("ascii", "replace").splitlines(), strict=True)
        return [ref for ref, answer in rows if answer.endswith(" missing")]

    def of_origin(self, refs: Iterable[str]) -> dict[str, str]:
        """Those of ``refs`` that are tags of the origin, if there is one, and the commits they are; by one question."""
        asked = {f"refs/tags/{ref}": ref for ref in refs}
        if not asked or "remote.origin.url" not in self.checkout.urls:
            return {}
        found = self.store.remote_refs(self.origin, list(asked), mirror=self.mirror)
        return {asked[name]: commit for name, commit in found.items() if name in asked}

    def lasting(self, ref: str) -> str | None:
        """``ref`` as it is to be kept if it stays what it is: a tag by its name, a commit by its whole id.

        ``None`` if it may stand for another commit tomorrow.
        """
        if ref.startswith(ORIGIN):
            return None
        git = self.checkout.git
        if git.text("rev-parse", "--quiet", "--verify", f"refs/tags/{ref}") is not None:
            return ref
        # Of a commit's id there is no such name; nor of a tag that only the origin has.
        name = git.text("rev-parse", "--symbolic-full-name", ref)
        if name:
            return name.removeprefix("refs/tags/") if name.startswith("refs/tags/") else None
        return git.text("rev-parse", "--quiet", "--verify", f"{ref}^{{commit}}") or ref

    def releases(self) -> Releases:
        """FATE's releases, here and in the origin (if there is one)."""
        here = self.checkout.git.output("for-each-ref", "--format=%(refname)", "refs/tags/v*").decode(
            "utf-8", "replace"
        )
        # What stands for a tree or a file is no release, nor what is damaged.
        absent = {*self.absent(here.splitlines())}
        names, away = [name for name in here.splitlines() if name not in absent], ""
        if "remote.origin.url" in self.checkout.urls:
            try:
                names += self.store.remote_refs(self.origin, ["refs/tags/v*"], mirror=self.mirror)
            except AwayError as error:
                away = error.message
        found = {name.removeprefix("refs/tags/v"): name.removeprefix("refs/tags/") for name in names}
        return Releases({version: tag for version, tag in found.items() if _VERSION.fullmatch(version)}, away)

    @property
    def origin(self) -> str:
        """The URL FATE_DIR was cloned from; :class:`SourceError` if there is none, or none git may be given."""
        url = self.checkout.urls.get("remote.origin.url")
        if url is None:
            raise SourceError(
                f"FATE_DIR={self.checkout.folder} was not cloned from anywhere: it has no remote origin",
                hint=f"git -C {self.checkout.folder} remote add origin https://github.com/FederatedAI/FATE.git",
            )
        if not is_safe(url):
            # It may hold a password, wherever that stands in what is no URL.
            raise SourceError(
                f"FATE_DIR={self.checkout.folder}: its origin is no URL git may use here",
                hint=f"git -C {self.checkout.folder} remote get-url origin",
            )
        return url

    def _from_origin(self, url: str, ref: str) -> str | None:
        commit = self.store.remote_refs(url, [ref], mirror=self.mirror).get(ref)
        if commit is None or self.store.has(f"{commit}^{{tree}}"):
            return commit
        # With its history, which says since when FATE's requirement files are as they are; but where the history of
        # FATE_DIR is cut, there is nothing that it would lead to.
        return self.store.fetch(url, ref, mirror=self.mirror, whole=not self.checkout.shallow.is_file())
