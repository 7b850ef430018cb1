"""Names of AppImages: which are allowed, and which one an image gets when none is given."""

from __future__ import annotations

import re
from typing import Final

from fimg_pipeline.errors import FimgError

#: RFC 1123 subdomain, as Kubernetes names its objects.
_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_LONGEST: Final = 253


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
