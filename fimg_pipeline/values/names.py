"""Names as Docker and registries have them: tags, namespaces, registries, images."""

from __future__ import annotations

import re
from typing import Final

from fimg_pipeline.catalog.bases import LOCAL_NAMESPACE
from fimg_pipeline.catalog.images import IMAGES

#: Docker's grammar for tags (distribution/reference).
TAG_PATTERN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: Parts of an image's name: a registry, and what is between slashes.
HOST: Final = (
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::[0-9]{1,5})?"
)
COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
#: Longest repository name Docker accepts, host included.
MAX_NAME: Final = 255
_PREFIX_PATTERN: Final = re.compile(rf"(?:{HOST}/)?{COMPONENT}(?:/{COMPONENT})*")
_IMAGE_PATTERN: Final = re.compile(
    rf"(?:{HOST}/)?{COMPONENT}(?:/{COMPONENT})*:{TAG_PATTERN.pattern}(?:@sha256:[0-9a-f]{{64}})?"
)
#: Longest tag with a digest, and what is before either.
_MAX_VERSION: Final = len(":") + 128 + len("@sha256:") + 64


def tag_problem(text: str) -> str | None:
    """Why ``text`` is no tag Docker would accept, or ``None``. Also the gate for partition keys."""
    if TAG_PATTERN.fullmatch(text):
        return None
    return "must be a Docker tag: 1 to 128 letters, digits, '_', '.', '-', not starting with '.' or '-'"


def tag(text: str) -> str:
    problem = tag_problem(text)
    if problem:
        raise ValueError(problem)
    return text


def prefix(text: str) -> str:
    # What the engine itself leaves out of names: `docker.io/a/b` is `a/b` there.
    text = re.sub(r"^(?:(?:index\.)?docker\.io/)+", "", text)
    if re.fullmatch(r"(?:index\.)?docker\.io", text):
        raise ValueError("names Docker Hub but no namespace there: write NAMESPACE")
    if text == "library" or text.startswith("library/"):
        raise ValueError("must not be library, Docker Hub's namespace for official images")
    if not _PREFIX_PATTERN.fullmatch(text):
        raise ValueError(
            "must be a namespace such as federatedai or HOST[:PORT]/NAMESPACE: "
            "lower-case letters, digits and single '.', '_', '-' between them"
        )
    if ":" in text.split("/")[0] and "/" not in text:
        raise ValueError("names a registry but no namespace: write HOST:PORT/NAMESPACE")
    first = text.split("/")[0]
    if not is_host(first) and not re.fullmatch(COMPONENT, first):
        raise ValueError(
            f"begins with {first}, which is no registry (no '.' or ':') and no namespace (lower case only)"
        )
    check_port(first)
    if text == LOCAL_NAMESPACE or text.startswith(f"{LOCAL_NAMESPACE}/"):
        raise ValueError(f"must not be {LOCAL_NAMESPACE}, where the pipeline keeps its own images")
    longest = max(len(alias) for image in IMAGES.values() for alias in (image.name, *image.aliases))
    if len(text) + 1 + longest > MAX_NAME:
        raise ValueError(f"is too long: image names may have {MAX_NAME} characters")
    return text


def is_host(first: str) -> bool:
    """Whether Docker takes the first part of a name for a registry's host (distribution/reference)."""
    return "." in first or ":" in first or first == "localhost"


def check_port(host: str) -> None:
    port = host.partition(":")[2]
    if port and not 0 < int(port) < 65536:
        raise ValueError(f"has the port {port}: ports are 1 to 65535")


def registry_folder(text: str) -> str:
    """A namespace in a registry that is named: nothing goes to Docker Hub because a host was left out."""
    found = prefix(text)
    if not is_host(found.split("/")[0]) or "/" not in found:
        raise ValueError("must be HOST[:PORT]/NAMESPACE of a registry")
    return found


def mirror(text: str) -> str:
    if len(text) > MAX_NAME or not re.fullmatch(rf"{HOST}(?:/{COMPONENT})*", text):
        raise ValueError("must be HOST[:PORT][/PATH] of a registry that mirrors Docker Hub")
    host = text.split("/")[0]
    if not is_host(host):
        raise ValueError(
            f"must begin with a registry's host: Docker takes {host!r}, without '.' or ':', for a namespace"
        )
    check_port(host)
    return text


def hosts(text: str) -> tuple[str, ...]:
    """A list of registries, each HOST[:PORT]."""
    found = tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip(" ,"))))
    for host in found:
        if not re.fullmatch(HOST, host) or not is_host(host):
            raise ValueError("must be HOST[:PORT] of registries, several with commas between them")
        check_port(host)
    return found


def images(text: str) -> tuple[str, ...]:
    """A list of images, each NAME:TAG, with the digest it must have if that is said."""
    found = tuple(dict.fromkeys(re.split(r"[\s,]+", text.strip(" ,"))))
    for reference in found:
        if len(reference) > MAX_NAME + _MAX_VERSION or not _IMAGE_PATTERN.fullmatch(reference):
            raise ValueError("must be NAME:TAG or NAME:TAG@sha256:DIGEST, several with commas between them")
    return found
