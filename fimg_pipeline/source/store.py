"""Our own object store: a bare repository below the state folder that borrows everybody else's objects."""

from __future__ import annotations

import fnmatch
import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from fimg_pipeline.errors import FimgError
from fimg_pipeline.source.git import (
    ANSWER_TIMEOUT_SECONDS,
    AwayError,
    FetchError,
    Git,
    GitError,
    alternates,
    complaint,
    failure,
)
from fimg_pipeline.state import locked
from fimg_pipeline.values.masking import redacted

_GITHUB: Final = "https://github.com/"
#: git's other end for a repository on this machine, which may belong to somebody else. That end is started without the
#: settings of this one, hence the detour.
_UPLOAD_PACK: Final = "env GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' git-upload-pack"
#: What is fetched becomes a pack, which is there or not: objects that come one by one would be seen before the rest.
#: A transfer that does not move any more is given up.
_WHOLE: Final = (
    *("-c", "fetch.unpackLimit=1", "-c", "transfer.unpackLimit=1"),
    *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=30"),
)
#: What is asked of a repository at once, whichever of it is wanted.
_EVERY_REF: Final = ("refs/heads/*", "refs/tags/*")
#: So long whoever only looks does not ask a repository that did not answer, and leaves alone what failed to be fetched.
_AWAY_SECONDS: Final = 300.0
_LEFT_ALONE_SECONDS: Final = 300.0
_LOG: Final = logging.getLogger(__name__)
#: git's modes of a folder and of a submodule in a tree or index.
FOLDER: Final = "040000"
SUBMODULE: Final = "160000"
#: What to do about an object that should be there.
DAMAGED: Final = "the clone is partial or damaged: fetch it anew, without --filter"


@dataclass(frozen=True)
class TreeEntry:
    """One entry of a tree: path relative to the tree, git mode, object id."""

    path: str
    mode: str
    object_id: str

    @property
    def executable(self) -> bool:
        return self.mode == "100755"

    @property
    def symlink(self) -> bool:
        return self.mode == "120000"

    @property
    def folder(self) -> bool:
        return self.mode == FOLDER

    @property
    def submodule(self) -> bool:
        return self.mode == SUBMODULE


@dataclass
class Remotes:
    """Repositories elsewhere, as whoever only looks asks them: each once, and not at all for a while if it is away.

    ``patience``: so long (seconds) each is waited for; a sensor has to answer within a minute.
    """

    patience: float = 10.0
    _refs: dict[str, dict[str, str]] = field(default_factory=dict)
    _away: dict[str, tuple[float, AwayError]] = field(default_factory=dict)

    def anew(self) -> None:
        """Forgets what they said, and after a while that they said nothing."""
        self._refs.clear()
        self._away = {url: found for url, found in self._away.items() if time.monotonic() - found[0] < _AWAY_SECONDS}

    def refs(self, url: str, ask: Callable[[], dict[str, str]]) -> dict[str, str]:
        """What ``ask`` says of the repository; :class:`AwayError` if that does not answer, or just did not."""
        if url in self._away:
            raise AwayError(self._away[url][1].message)
        if url not in self._refs:
            try:
                self._refs[url] = ask()
            except AwayError as error:
                self._away[url] = (time.monotonic(), error)
                raise
        return self._refs[url]


@dataclass(frozen=True)
class ObjectStore:
    """Objects of every repository involved: fetched ones below ``git_dir``, the others where they already are.

    ``remotes``: for whoever only looks; without, repositories elsewhere are waited for as long as it takes.
    """

    git_dir: Path
    borrowed: tuple[Path, ...] = ()
    remotes: Remotes | None = None

    @property
    def git(self) -> Git:
        return Git(git_dir=self.git_dir, environment=alternates(self.borrowed))

    @property
    def objects(self) -> Path:
        return self.git_dir / "objects"

    @classmethod
    def open(cls, home: Path, borrowed: Sequence[Path | str] = (), remotes: Remotes | None = None) -> ObjectStore:
        """The store below ``home``, created when absent; safe against several processes at once."""
        git_dir = home / "git" / "store.git"
        if not (git_dir / "HEAD").is_file():
            try:
                git_dir.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise FimgError(f"FIMG_HOME={home} can't be created: {error.strerror}") from None
            with locked(git_dir.with_suffix(".lock")):
                Git().output("init", "--quiet", "--bare", str(git_dir))
        return cls(git_dir, tuple(map(Path, borrowed)), remotes)

    def borrowing(self, *directories: Path) -> ObjectStore:
        """The same store that also reads the objects in ``directories``."""
        return replace(self, borrowed=tuple(dict.fromkeys((*self.borrowed, *directories))))

    @property
    def cuts(self) -> frozenset[str]:
        """The commits at which a history ends here, though it went on where it came from."""
        folders = (self.git_dir, *(each.parent for each in self.borrowed))
        return frozenset(commit for folder in folders for commit in shallow(folder / "shallow"))

    @contextmanager
    def history(self, cuts: Iterable[str]) -> Iterator[Git]:
        """git as it has to be asked for what came before a commit: it looks into one file alone for where that ends."""
        ending = sorted(cuts)
        if not ending:
            yield self.git
            return
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as file:
            file.writelines(f"{commit}\n" for commit in ending)
            file.flush()
            yield replace(self.git, environment={**self.git.environment, "GIT_SHALLOW_FILE": file.name})

    def goes_on(self, commit: str) -> bool:
        """Whether what came before a commit is here, wherever a history was cut."""
        # What it says itself: asked for its parents git would heed the cut.
        header, _, _ = (self.git.text("cat-file", "commit", commit) or "").partition("\n\n")
        parents = [line.removeprefix("parent ") for line in header.splitlines() if line.startswith("parent ")]
        return bool(parents) and all(map(self.has, parents))

    def has(self, object_id: str) -> bool:
        return self.git.run("cat-file", "-e", object_id).returncode == 0

    def resolve(self, expression: str) -> str | None:
        """The id ``expression`` (``COMMIT:path``, ``COMMIT^{tree}``) stands for, or ``None``."""
        return self.git.text("rev-parse", "--quiet", "--verify", "--end-of-options", expression)

    def ids(self, expressions: Sequence[str]) -> list[str | None]:
        """What many expressions (``COMMIT:path``, without line ends) stand for, by one process."""
        asked = "\n".join(expressions).encode("utf-8", "surrogateescape")
        answers = self.git.output("cat-file", "--batch-check=%(objectname)", "--buffer", stdin=asked).splitlines()
        return [None if answer.endswith(b" missing") else answer.decode("ascii", "replace") for answer in answers]

    def blob(self, object_id: str) -> bytes:
        return self.git.output("cat-file", "blob", object_id)

    def contents(self, object_ids: Iterable[str]) -> Iterator[bytes | None]:
        """The blobs one after the other, ``None`` for one that is absent; by one process, one in memory at a time."""
        with self.git.start("cat-file", "--batch") as process:
            assert process.stdin is not None and process.stdout is not None
            for object_id in object_ids:
                process.stdin.write(f"{object_id}\n".encode("ascii"))
                process.stdin.flush()
                header = process.stdout.readline().split()
                if header[-1:] == [b"missing"]:
                    yield None
                    continue
                size = int(header[2]) if len(header) == 3 else 0
                data = process.stdout.read(size + 1)
                if len(data) != size + 1:
                    raise GitError(f"git ended while {object_id} was read")
                yield data[:-1]
            process.stdin.close()
            if process.wait() != 0:
                raise GitError("git cat-file failed")

    def entry(self, tree: str, path: str) -> TreeEntry | None:
        """What ``tree`` has at ``path``: a file, folder, link or submodule."""
        return next(iter(self._entries("ls-tree", "-z", "--full-tree", tree, "--", path)), None)

    def listing(self, tree: str, paths: Sequence[str] = ()) -> list[TreeEntry]:
        """Everything in ``tree`` in git's order, or all that is at and below ``paths``; folders are entries too."""
        entries = list(self._entries("ls-tree", "-r", "-t", "-z", "--full-tree", tree, "--", *paths))
        for entry in entries:
            # git writes such names only when it is made to, and a checkout refuses them.
            if any(part in ("", ".", "..") or part.lower() == ".git" for part in entry.path.split("/")):
                raise GitError(
                    f"tree {tree} holds something by the name {entry.path!r}, which would leave its folder",
                    hint="this repository was tampered with: don't build from it",
                )
        return entries

    def files(self, tree: str, pattern: str | None) -> list[TreeEntry]:
        """The files of a tree that go into a package; submodules inside are left to their own packages."""
        entries = self.listing(tree)
        return matching([entry for entry in entries if not entry.folder and not entry.submodule], pattern)

    def _entries(self, *command: str) -> Iterator[TreeEntry]:
        for row in self.git.output(*command).split(b"\0"):
            if row:
                meta, _, path = row.partition(b"\t")
                mode, _, object_id = meta.decode("ascii").split()
                yield TreeEntry(path.decode("utf-8", "surrogateescape"), mode, object_id)

    def absent(self, entries: Sequence[TreeEntry]) -> list[TreeEntry]:
        """Those whose content no copy of the repository has."""
        if not entries:
            return []
        asked = "\n".join(entry.object_id for entry in entries).encode("ascii")
        answers = self.git.output("cat-file", "--batch-check=%(objecttype)", "--buffer", stdin=asked).splitlines()
        return [entry for entry, answer in zip(entries, answers, strict=True) if answer.endswith(b"missing")]

    def pieces(self) -> tuple[int, int]:
        """In how many objects and packs what was fetched and written is kept."""
        rows = self.git.output("count-objects", "-v").decode("ascii", "replace").splitlines()
        counts = {name: int(value) for name, value in (row.split(": ") for row in rows) if value.isdigit()}
        return counts["count"], counts["packs"]

    def repack(self) -> None:
        """Makes one pack of all; objects stay, as no ref tells which are needed."""
        with locked(self.git_dir / "fetch.lock"):
            old = set((self.objects / "pack").glob("*.pack"))
            every = self.git.output("cat-file", "--batch-all-objects", "--batch-check=%(objectname)", "--unordered")
            name = self.git.output("pack-objects", "--quiet", str(self.objects / "pack/pack"), stdin=every)
            new = self.objects / f"pack/pack-{name.decode('ascii').strip()}.pack"
            for pack in old - {new}:
                # Without its index it is no pack any more.
                for ending in (".idx", ".pack", ".rev", ".bitmap"):
                    pack.with_suffix(ending).unlink(missing_ok=True)
            self.git.output("prune-packed", "--quiet")

    def fetch(self, url: str, ref: str, *, mirror: str | None, whole: bool = False) -> str:
        """Brings ``ref`` (a commit id, tag or branch) from ``url`` and returns its commit id.

        ``whole``: with its history, as far as it is nowhere yet. :class:`FetchError` when the repository can't be
        reached, or, for whoever only looks, what takes longer is still under way, or just failed; :class:`GitError`
        when it has no such ref.
        """
        rewrite, upload_pack = _transport(url, mirror)
        # What is borrowed may be of a clone whose history is cut: git would look for what there is beyond that.
        shallow, depth = ([], []) if whole else (["-c", "core.alternateRefsCommand=true"], ["--depth=1"])
        patience = None if self.remotes is None else self.remotes.patience

        def waits() -> None:
            if patience is not None:
                raise FetchError(f"{redacted(url)} waits for something else that is being fetched")
            _LOG.warning("%s waits for something else that is being fetched", redacted(url))

        errors = self.git_dir / f"fetch-{hashlib.sha256(f'{url} {ref}'.encode()).hexdigest()[:16]}.log"
        with locked(self.git_dir / "fetch.lock", waits=waits) as lock:
            # A git that still lives would have the lock above: these are of one that was killed.
            for left in ("shallow.lock", "packed-refs.lock", "config.lock", "FETCH_HEAD.lock"):
                (self.git_dir / left).unlink(missing_ok=True)
            for left_pack in (self.objects / "pack").glob("tmp_*"):
                left_pack.unlink(missing_ok=True)
            before = failure(errors.read_bytes()) if errors.exists() else None
            since = time.time() - errors.stat().st_mtime if before else 0.0
            if before and patience is not None and 0 <= since < _LEFT_ALONE_SECONDS:
                # Or it would keep all others from being fetched, which wait for the same lock.
                raise FetchError(redacted(f"{ref} can't be fetched from {url}: {before}; it is tried again in a while"))
            status = self.git.fetch(
                *rewrite, *_WHOLE, *shallow, "fetch", "--quiet", "--no-tags", *depth, "--no-recurse-submodules",
                *upload_pack, "--", url, ref, patience=patience, lock=lock, errors=errors,
            )  # fmt: skip
            if status is None:
                failed = f" (the last time: {before})" if before else ""
                raise FetchError(redacted(f"{ref} is being fetched from {url}{failed}"))
            words = complaint(errors.read_bytes())
            if status == 0 or patience is None:
                errors.unlink()
            if status != 0:
                refused = any(
                    text in words for text in ("couldn't find remote ref", "not our ref", "no such remote ref")
                )
                message = redacted(f"{ref} can't be fetched from {url}: {words}")
                raise (GitError if refused else FetchError)(message)
            commit = self.git.text("rev-parse", "--verify", "FETCH_HEAD^{commit}")
        if commit is None:
            raise GitError(redacted(f"{ref} of {url} is not a commit"))
        return commit

    def remote_refs(self, url: str, patterns: Sequence[str], *, mirror: str | None) -> dict[str, str]:
        """What the refs of a repository are at, by their whole names (``refs/tags/v1.11.2``): tags at their commits.

        ``patterns``: whole names, or with ``*``. :class:`AwayError` when the repository can't be reached.
        """
        if self.remotes is None:
            return self._asked(url, patterns, mirror, ANSWER_TIMEOUT_SECONDS)
        patience = self.remotes.patience
        every = self.remotes.refs(f"{mirror} {url}", lambda: self._asked(url, _EVERY_REF, mirror, patience))
        whole = {name: every[name] for name in patterns if name in every}
        several = [pattern for pattern in patterns if "*" in pattern]
        return whole | {name: every[name] for pattern in several for name in fnmatch.filter(every, pattern)}

    def _asked(self, url: str, patterns: Sequence[str], mirror: str | None, limit: float) -> dict[str, str]:
        rewrite, upload_pack = _transport(url, mirror)
        asked = [asked for pattern in patterns for asked in (pattern, f"{pattern}^{{}}")]
        try:
            done = self.git.run(*rewrite, "ls-remote", *upload_pack, "--", url, *asked, timeout=limit)
        except FetchError:
            raise AwayError(redacted(f"{url} did not say within {limit:.0f} s what it has")) from None
        if done.returncode != 0:
            raise AwayError(redacted(f"{url} can't be asked for its refs: {complaint(done.stderr)}"))
        rows = [line.partition("\t")[::2] for line in done.stdout.decode("utf-8", "replace").splitlines()]
        # An annotated tag is told twice: as what it is, and (after it) as what it names.
        return {name.removesuffix("^{}"): object_id for object_id, name in rows}


def shallow(file: Path) -> list[str]:
    """The commits in git's file of those at which a history was cut, if there is one."""
    try:
        return file.read_text("ascii").split()
    except FileNotFoundError:
        return []


def _transport(url: str, mirror: str | None) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Options of git before its command, and of the command, for a repository that may be taken from a mirror."""
    rewrite = ("-c", f"url.{mirror.rstrip('/')}/.insteadOf={_GITHUB}") if mirror else ()
    origin = mirror if mirror and url.startswith(_GITHUB) else url
    return rewrite, ("--upload-pack", _UPLOAD_PACK) if origin.startswith(("/", "file://")) else ()


def matching(files: Sequence[TreeEntry], pattern: str | None) -> list[TreeEntry]:
    """All of a folder's files, or those directly in it whose names match ``pattern``."""
    if pattern is None:
        return list(files)
    return [file for file in files if fnmatch.fnmatchcase(file.path, pattern) and "/" not in file.path]
