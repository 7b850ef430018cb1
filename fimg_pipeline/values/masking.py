"""Text of others as it may be shown: without credentials, without what would steer a terminal."""

from __future__ import annotations

import re
from typing import Final

_STEERING: Final = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CREDENTIALS: Final = re.compile(r"(?<=://)[^\s/'\"]+@")


def redacted(text: str) -> str:
    """``text`` without what stands before the host of the URLs in it, or in their queries: names, passwords, tokens."""
    without = re.sub(r"(://)[^\s'\"]*@", r"\1***@", text)
    return re.sub(r"(://[^\s'\"?]*\?)[^\s'\"]+", r"\1***", without)


def without_credentials(line: str) -> str:
    """A line some program printed, without the credentials in its URLs; an ``@`` in a URL's path stays."""
    return _CREDENTIALS.sub("***@", line)


def printable(line: str) -> str:
    """A line somebody else wrote, without what would steer a terminal."""
    plain = _STEERING.sub("", line).replace("\t", " ")
    return "".join(letter for letter in plain if letter.isprintable()).strip()
