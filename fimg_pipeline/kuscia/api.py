"""AppImages in the API server of a node, by the kubectl that is there: documents go over standard input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from fimg_pipeline.engine.containers import Container
from fimg_pipeline.errors import FimgError

#: The whole name of the resource: other groups may have an appimage, too.
RESOURCE: Final = "appimages.kuscia.secretflow"
#: What kubectl says became of a document.
RESULTS: Final = ("created", "configured", "unchanged")


class ApiError(FimgError):
    """An API server does not answer, or refuses an AppImage."""


def try_out(server: Container, document: Mapping[str, Any]) -> None:
    """Has the server check ``document`` without keeping it; :class:`ApiError` with what is wrong with it."""
    _kubectl(server, ["apply", "--dry-run=server", "--filename=-"], document)


def apply(server: Container, document: Mapping[str, Any]) -> str:
    """Makes the server have ``document``; one of :data:`RESULTS`. Raises :class:`ApiError`."""
    output = _kubectl(server, ["apply", "--filename=-"], document)
    said = output.split()[-1:]
    if not said or said[0] not in RESULTS:
        raise ApiError(f"{server.name}: kubectl did not say what became of it: {output.strip()[-200:]}")
    return said[0]


def current(server: Container, name: str) -> dict[str, Any] | None:
    """The AppImage ``name`` as the server has it, or ``None``; :class:`ApiError` when it does not answer."""
    text = _kubectl(server, ["get", RESOURCE, name, "--ignore-not-found", "--output=json"])
    try:
        found: dict[str, Any] | None = json.loads(text) if text.strip() else None
    except ValueError:
        raise ApiError(f"{server.name}: kubectl printed no JSON: {text.strip()[-200:]}") from None
    return found


def differences(wanted: Any, found: Any, place: str = "") -> list[str]:
    """Where ``found`` is not as ``wanted``, as paths of fields. What the server added (defaults, state) is none."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return [
            line
            for key, value in wanted.items()
            for line in differences(value, found.get(key), f"{place}.{key}".lstrip("."))
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return [
            line
            for number, (value, other) in enumerate(zip(wanted, found, strict=True))
            for line in differences(value, other, f"{place}[{number}]")
        ]
    return [] if wanted == found else [place]


def _kubectl(server: Container, arguments: list[str], document: Mapping[str, Any] | None = None) -> str:
    given = b"" if document is None else json.dumps(document).encode()
    done = server.run(["kubectl", *arguments], given)
    if done.status != 0:
        raise ApiError(f"{server.name}: kubectl {arguments[0]}: {done.problem}")
    return done.output
