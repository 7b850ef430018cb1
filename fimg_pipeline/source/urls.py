"""URLs of repositories, as git, its submodules and people write them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

#: Transports git may use for a submodule; what .gitmodules says is input like any other (``ext::`` runs programs).
_SAFE: Final = re.compile(
    r"(?:(?:https?|ssh|git|file)://|/)[^\s\x00-\x1f]+|\w[\w.-]*@\w[\w.-]*:[^\s\x00-\x1f]+", re.ASCII
)
#: ``user@host:path``, ssh's short form; ``host`` alone may be a name of somebody's own (ssh_config).
_SHORT: Final = re.compile(r"(?:(?P<user>\w[\w.-]*)@)?(?P<host>\w[\w.-]*):(?!//)(?P<path>[\w./~+-]+)", re.ASCII)
_PUBLIC: Final = re.compile(r"(?:https?|ssh|git)://[A-Za-z0-9.-]+(?::\d+)?/[A-Za-z0-9._~%+/-]+")
_PAGE: Final = re.compile(r"https://[A-Za-z0-9.:-]+/[A-Za-z0-9._/-]+")


def is_safe(url: str) -> bool:
    """Whether git may be given a URL that a repository names."""
    return (_SAFE.fullmatch(url) or _SHORT.fullmatch(url)) is not None


def local_folder(url: str) -> Path | None:
    """The folder a git URL names, when it is one on this machine."""
    folder = Path(url.removeprefix("file://"))
    return folder if folder.is_absolute() and folder.is_dir() else None


def joined(origin: str, relative: str) -> str:
    """A relative submodule URL against its superproject's, as git does it (gitsubmodules)."""
    base = origin.rstrip("/")
    for segment in relative.split("/"):
        if segment == "..":
            base = base.rpartition("/")[0]
        elif segment not in (".", ""):
            base = f"{base}/{segment}"
    return base


def public_url(url: str) -> str:
    """``url`` as everybody may see it: without what may be a name, a password or a token.

    Empty when it is no URL, or a path of this machine: that says nothing to others, but about the machine.
    """
    short = _SHORT.fullmatch(url)
    if short and (short["user"] or "." in short["host"]):
        return f"ssh://{short['host']}/{short['path'].lstrip('/')}"
    scheme, _, rest = url.partition("://")
    shown = f"{scheme}://{re.split('[?#]', rest.rpartition('@')[2])[0]}"
    return shown if _PUBLIC.fullmatch(shown) else ""


def web_page(url: str) -> str | None:
    """The page of a repository at a :func:`public_url`, for links to commits; hosts serve both by the same path."""
    page = re.sub(r"^ssh://([^:/]+)/", r"https://\1/", url)
    return page.removesuffix("/").removesuffix(".git") if _PAGE.fullmatch(page) else None
