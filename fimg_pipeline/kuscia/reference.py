"""Names of images as Kuscia's nodes have them: whole, so that what an AppImage names is what containerd holds."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from fimg_pipeline.errors import FimgError
from fimg_pipeline.values.names import COMPONENT, HOST, MAX_NAME, TAG_PATTERN, check_port, is_host

_HUB: Final = "docker.io"
_LATEST: Final = "latest"
_PATH: Final = re.compile(rf"{COMPONENT}(?:/{COMPONENT})*")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


class ImageNameError(FimgError):
    """What is given can't be the name of an image."""


@dataclass(frozen=True)
class Reference:
    """An image by its whole name (``docker.io/library/mysql``), its tag, and the digest it has to have, if any."""

    repository: str
    tag: str
    digest: str | None = None

    def __str__(self) -> str:
        return f"{self.repository}:{self.tag}"

    @property
    def on_engine(self) -> str:
        """As Docker lists it: what is on its hub without the hub's name."""
        name = str(self).removeprefix(f"{_HUB}/")
        first, slash, _ = name.partition("/")
        # There are namespaces that look like registries.
        return str(self) if slash and is_host(first) else name.removeprefix("library/")


def parse(text: str) -> Reference:
    """What ``text`` names, by Docker's grammar (distribution/reference); raises :class:`ImageNameError`.

    Without a tag it is ``latest``. A digest alone is refused: Kuscia runs an image by name and tag.
    """
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise ImageNameError(f"image {text!r} has a digest that is none: sha256: and 64 of 0-9a-f")
    # A colon before the last slash is a port's.
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag = rest, ""
    elif not TAG_PATTERN.fullmatch(tag):
        raise ImageNameError(
            f"image {text!r} has a tag that is none: 1 to 128 letters, digits, '_', '.', '-', and no '.' or '-' first"
        )
    if at and not tag:
        raise ImageNameError(
            f"image {text!r} has a digest and no tag, and Kuscia runs images by name and tag",
            hint="write NAME:TAG@DIGEST: the image of that digest is registered under that tag",
        )
    if name == "sha256" and re.fullmatch(r"[0-9a-f]{64}", tag):
        raise ImageNameError(f"image {text!r} is an id, and Kuscia runs images by name and tag")
    return Reference(_whole(name, text), tag or _LATEST, digest or None)


def _whole(name: str, text: str) -> str:
    host, slash, path = name.partition("/")
    if not slash or not is_host(host):
        host, path = _HUB, name
    elif not re.fullmatch(HOST, host):
        raise ImageNameError(f"image {text!r} begins with {host!r}, which is no registry: HOST or HOST:PORT")
    try:
        check_port(host)
    except ValueError as error:
        raise ImageNameError(f"image {text!r} {error}") from None
    if host == f"index.{_HUB}":
        host = _HUB
    if not _PATH.fullmatch(path):
        raise ImageNameError(
            f"image {text!r} must be [HOST[:PORT]/]NAME[:TAG]: a name of lower-case letters, digits and single '.', "
            "'_', '-' between them"
        )
    if host == _HUB and "/" not in path:
        path = f"library/{path}"
    if len(f"{host}/{path}") > MAX_NAME:
        raise ImageNameError(f"image {text[:40]!r}… has a name that is too long: at most {MAX_NAME} characters")
    return f"{host}/{path}"
