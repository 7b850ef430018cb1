"""Options of ``docker build`` that users may give."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Final

#: A command line holds more, but not endlessly more.
_MAX_OPTIONS: Final = 16_384
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
#: ``docker build`` options that make sense in ``Docker_Options``, with what their values have to look like (``None``:
#: no value). What the pipeline sets itself (tag, file, platform, output …) and what would change the meaning of the
#: context is left out on purpose.
BUILD_OPTIONS: Final[Mapping[str, str | None]] = {
    "--no-cache": None,
    "--add-host": r"[A-Za-z0-9._-]+[:=](?:[0-9.]+|\[?[0-9A-Fa-f:]+\]?|host-gateway)",
    "--build-arg": rf"{_NAME}(?:=.*)?",
    "--cache-from": r"[A-Za-z0-9][\w./:@=,-]*",
    "--label": r"[A-Za-z0-9][\w.-]*(?:=.*)?",
    "--network": r"default|host|none",
    "--shm-size": r"[0-9]+[bkmgBKMG]?",
    "--ssh": r"[A-Za-z0-9_-]+(?:=[\w./@+,=~%-]+)?",
    "--ulimit": r"[a-z]+=-?[0-9]+(?::-?[0-9]+)?",
}
#: What such options may not name, because plan and engine do.
_RESERVED: Final[Mapping[str, tuple[str, ...]]] = {
    "--build-arg": ("PARENT", "BASE_", "PACKAGE_", "SOURCE_DATE", "EXTRA_INDEXES", "SPARK_VERSION", "BUILDKIT_"),
    "--label": ("io.fimg.", "org.opencontainers.image."),
}
#: Build arguments BuildKit knows by itself and keeps out of images; also in lower case.
PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY")
#: Options that change how an image is built but not what is in it.
NEUTRAL_OPTIONS: Final = frozenset({"--no-cache", "--cache-from", "--shm-size", "--ulimit", "--ssh"})


def options(text: str) -> tuple[str, ...]:
    if len(text) > _MAX_OPTIONS:
        raise ValueError(f"is too long: {len(text)} characters, at most {_MAX_OPTIONS}")
    try:
        tokens = shlex.split(text)
    except ValueError as error:
        raise ValueError(f"can't be split into options: {error}") from None
    options: list[str] = []
    rest = iter(tokens)
    for token in rest:
        name, equals, value = token.partition("=")
        if name not in BUILD_OPTIONS:
            raise ValueError(
                f"{name!r} is not an option that may be set here; allowed: {', '.join(sorted(BUILD_OPTIONS))}"
            )
        pattern = BUILD_OPTIONS[name]
        if pattern is None:
            if equals:
                raise ValueError(f"{name} takes no value")
            options.append(name)
            continue
        if not equals:
            value = next(rest, "")
        if not value or value.startswith("-") or not value.isprintable():
            raise ValueError(f"{name} needs a value")
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{name} can't have the value {value.partition('=')[0]!r}")
        subject = value.partition("=")[0]
        if name in _RESERVED and subject.startswith(_RESERVED[name]):
            raise ValueError(f"{name} {subject} is set by the pipeline and can't be overridden")
        options.append(f"{name}={value}")
    return tuple(options)
