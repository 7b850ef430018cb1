"""Names of AppImages: which are allowed, and which one an image gets when none is given."""

from __future__ import annotations

import hashlib
import re
from typing import Final

from fimg_pipeline.errors import FimgError
from fimg_pipeline.kuscia.reference import Reference

#: RFC 1123 subdomain, as Kubernetes names its objects.
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST: Final = 253
#: Kuscia makes labels of it, which are shorter.
_LONGEST_GENERATED: Final = 63
_MARK: Final = 8


class AppImageNameError(FimgError):
    """A name that no AppImage can have."""


def checked_name(text: str) -> str:
    """``text``, if it can name an AppImage: it is never changed in silence. Raises :class:`AppImageNameError`."""
    if len(text) > _LONGEST:
        raise AppImageNameError(f"AppImage name is too long: {len(text)} characters, at most {_LONGEST}")
    if not _NAME.fullmatch(text):
        raise AppImageNameError(
            f"AppImage name {text!r} must be lower-case letters, digits, '-' and '.', and begin and end with a letter "
            "or digit"
        )
    return text


def generated_name(image: Reference) -> str:
    """The name for an image when none is given: the last part of its name, ``-``, its tag.

    As Kuscia's own tool makes it, and beyond that always one that Kubernetes takes: at most 63 of ``[a-z0-9-]``. What
    is too long is cut, and told apart by a hash of the whole.
    """
    whole = f"{image.repository.rpartition('/')[2]}-{image.tag}"
    text = re.sub(r"[^a-z0-9]+", "-", whole.lower()).strip("-")
    if len(text) > _LONGEST_GENERATED:
        mark = hashlib.sha256(whole.encode()).hexdigest()[:_MARK]
        text = f"{text[: _LONGEST_GENERATED - _MARK - 1].rstrip('-')}-{mark}"
    return text
