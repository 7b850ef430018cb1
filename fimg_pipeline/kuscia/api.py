"""AppImages in the API server of a node, by the kubectl that is there: documents go over standard input."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from fimg_pipeline.engine.containers import Container
from fimg_pipeline.errors import FimgError

#: The whole name of the resource: other groups may have an appimage, too.
RESOURCE: Final = "appimages.kuscia.secretflow"
#: It gives up before it is given up.
_PATIENCE: Final = "--request-timeout=60s"
#: What kubectl says became of a document.
_SAID: Final = ("created", "configured", "unchanged")


class ApiError(FimgError):
    """An API server does not answer, or refuses an AppImage."""


def try_out(server: Container, document: Mapping[str, Any]) -> bool:
    """Has the server check ``document`` without keeping it; :class:`ApiError` with what is wrong with it.

    Whether it has an AppImage of that name.
    """
    return " created (" not in _kubectl(server, ["apply", "--dry-run=server", "--filename=-"], document)


def apply(server: Container, document: Mapping[str, Any]) -> str:
    """Makes the server have ``document``, and nothing else under ``spec``; raises :class:`ApiError`.

    What that was: created, configured, or unchanged.
    """
    name = document["metadata"]["name"]
    before = current(server, name)
    output = _kubectl(server, ["apply", "--filename=-"], document)
    said = output.split()[-1:]
    if not said or said[0] not in _SAID:
        raise ApiError(f"{server.name}: kubectl did not say what became of it: {output.strip()[-200:]}")
    # Applying leaves alone what others have put there: an id of another image, a command.
    if deviations(server, document):
        _replace(server, document)
    after = current(server, name) or {}
    if said[0] == "created":
        return "created"
    # By the version of the object: kubectl says "configured" of what the server then finds to be the same.
    return "unchanged" if before is not None and _version(before) == _version(after) else "configured"


def _replace(server: Container, document: Mapping[str, Any]) -> None:
    """Has the server keep nothing but ``document`` under ``spec``; :class:`ApiError` when it does not afterwards."""
    # Refused when somebody changes it at this moment: it has the version that was read. Raw, for otherwise kubectl
    # would note all of it as what was applied, and the next time take away the labels that others gave it.
    name = document["metadata"]["name"]
    whole = {**(current(server, name) or {}), "spec": document["spec"]}
    path = f"/apis/{document['apiVersion']}/appimages/{name}"
    _kubectl(server, ["replace", f"--raw={path}", "--filename=-"], whole)
    wrong = deviations(server, document)
    if wrong:
        raise ApiError(f"{server.name}: it was applied and is not as it should be: {', '.join(wrong)}")


def _version(found: Mapping[str, Any]) -> Any:
    return found.get("metadata", {}).get("resourceVersion")


def deviations(server: Container, document: Mapping[str, Any]) -> list[str]:
    """Where the AppImage that the server has is another than ``document``, as paths of fields; ``[""]``: it has none.

    Under ``spec`` also what is there besides. What the server itself adds to one, it is asked.
    """
    found = current(server, document["metadata"]["name"])
    if found is None:
        return [""]
    if found["metadata"].get("deletionTimestamp"):
        return ["metadata.deletionTimestamp"]
    alone = {**document, "metadata": {"name": f"fimg-{uuid.uuid4().hex}"}}
    kept = _json(server, _kubectl(server, ["create", "--dry-run=server", "--filename=-", "--output=json"], alone))
    described = [
        f"metadata.{line}"
        for name in ("labels", "annotations")
        for line in differences({name: document["metadata"].get(name) or {}}, {name: found["metadata"].get(name) or {}})
    ]
    wanted = kept.get("spec")
    return described + [f"spec.{line}" for line in _both_ways(wanted, found.get("spec"))]


def _both_ways(wanted: Any, found: Any) -> list[str]:
    return list(dict.fromkeys((*differences(wanted, found), *differences(found, wanted))))


def current(server: Container, name: str) -> dict[str, Any] | None:
    """The AppImage ``name`` as the server has it, or ``None``; :class:`ApiError` when it does not answer."""
    text = _kubectl(server, ["get", RESOURCE, name, "--ignore-not-found", "--output=json"])
    return _json(server, text) if text.strip() else None


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
    done = server.run(["kubectl", _PATIENCE, *arguments], given)
    if done.status != 0:
        raise ApiError(f"{server.name}: kubectl {arguments[0]}: {done.problem}")
    return done.output


def _json(server: Container, text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError(f"{server.name}: kubectl printed no JSON: {text.strip()[-200:]}") from None
    return found
