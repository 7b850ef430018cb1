"""AppImages in the API server of a node, by the kubectl that is there: documents go over standard input."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from typing import Any, Final

from fimg_pipeline.engine.containers import Container, ContainerError
from fimg_pipeline.errors import FimgError

#: The whole name of the resource: other groups may have an appimage, too.
RESOURCE: Final = "appimages.kuscia.secretflow"
#: It gives up before it is given up.
_PATIENCE: Final = "--request-timeout=60s"
#: So often somebody else may change it between reading and writing.
_TRIES: Final = 5


class ApiError(FimgError):
    """An API server does not answer, or refuses an AppImage."""


class OtherwiseError(ApiError):
    """An API server took an AppImage, and has it otherwise by now."""


class UnseenError(ApiError):
    """Something was sent to an API server, and what became of it can't be seen."""


def try_out(server: Container, document: Mapping[str, Any]) -> bool:
    """Has the server check ``document`` without keeping it; :class:`ApiError` with what is wrong with it.

    Whether it has an AppImage of that name.
    """
    _kept(server, document)
    found = current(server, document["metadata"]["name"])
    if found is not None and found["metadata"].get("deletionTimestamp"):
        held = ", ".join(found["metadata"].get("finalizers") or ()) or "nothing"
        raise ApiError(
            f"{server.name}: AppImage {document['metadata']['name']} is being deleted (metadata.deletionTimestamp), "
            f"held by {held}"
        )
    return found is not None


def apply(server: Container, document: Mapping[str, Any]) -> str:
    """Makes the server have ``document``, and nothing else under ``spec``; raises :class:`ApiError`.

    What that was: created, configured, or unchanged. Labels and annotations that others gave it stay. Not by ``kubectl
    apply``, which goes by what it noted in the object the last time: an edit of somebody's, or an object that was
    exported and applied again, can make of that what it can't get past.
    """
    before = current(server, document["metadata"]["name"])
    try:
        before = _bring(server, document, before)
    except ApiError as error:
        _require_seen(server, document, error)
    after = _require_seen(server, document, None)
    if before is None:
        return "created"
    # By the version of the object: what the server finds to be the same has none of its own.
    return "unchanged" if _version(before) == _version(after) else "configured"


def _bring(server: Container, document: Mapping[str, Any], found: dict[str, Any] | None) -> dict[str, Any] | None:
    """Creates it, or replaces what was ``found`` there under that version; what was there in the end."""
    name = document["metadata"]["name"]
    for _ in range(_TRIES):
        try:
            if found is None:
                _kubectl(server, ["create", "--filename=-"], document)
            else:
                path = f"/apis/{document['apiVersion']}/appimages/{name}"
                _kubectl(server, ["replace", f"--raw={path}", "--filename=-"], _over(found, document))
            return found
        except ApiError as error:
            there = current(server, name)
            # Somebody was quicker; whatever else it was, it comes again.
            if _version(there or {}) == _version(found or {}):
                raise
            found, problem = there, error
    raise problem


def _over(found: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """What is there, as ``document`` wants it."""
    metadata = dict(found["metadata"])
    for described in ("labels", "annotations"):
        if document["metadata"].get(described):
            metadata[described] = {**(metadata.get(described) or {}), **document["metadata"][described]}
    return {**found, "metadata": metadata, "spec": document["spec"]}


def _require_seen(server: Container, document: Mapping[str, Any], sent: ApiError | None) -> Mapping[str, Any]:
    """The AppImage, which is as it should be, or :class:`ApiError`: what was wrong when it was ``sent``, or is now."""
    try:
        wrong = deviations(server, document)
        found = current(server, document["metadata"]["name"])
    except ApiError as error:
        said = (sent or error).message.removeprefix(f"{server.name}: ")
        raise UnseenError(f"{server.name}: it was sent, and what became of it can't be seen: {said}") from None
    if sent is not None and (wrong or found is None):
        raise sent
    if found is None or wrong == [""]:
        raise ApiError(f"{server.name}: it was taken, and is not there any more")
    if wrong:
        raise OtherwiseError(f"{server.name}: it was taken, and is otherwise by now: {', '.join(wrong)}")
    return found


def _version(found: Mapping[str, Any]) -> Any:
    return found.get("metadata", {}).get("resourceVersion")


def _kept(server: Container, document: Mapping[str, Any]) -> dict[str, Any]:
    """What the server would make of ``document``, whatever it has under that name."""
    alone = {**document, "metadata": {**document["metadata"], "name": f"fimg-{uuid.uuid4().hex}"}}
    return _json(server, _kubectl(server, ["create", "--dry-run=server", "--filename=-", "--output=json"], alone))


def deviations(server: Container, document: Mapping[str, Any]) -> list[str]:
    """Where the AppImage that the server has is another than ``document``, as paths of fields; ``[""]``: it has none.

    Under ``spec`` also what is there besides. What the server itself adds to one, it is asked.
    """
    found = current(server, document["metadata"]["name"])
    if found is None:
        return [""]
    if found["metadata"].get("deletionTimestamp"):
        return ["metadata.deletionTimestamp"]
    described = [
        f"metadata.{line}"
        for name in ("labels", "annotations")
        for line in differences({name: document["metadata"].get(name) or {}}, {name: found["metadata"].get(name) or {}})
    ]
    wanted = _kept(server, document).get("spec")
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
    try:
        done = server.run(["kubectl", _PATIENCE, *arguments], given)
    except ContainerError as error:
        raise ApiError(f"{server.name}: {error.message.removeprefix(f'{server.name}: ')}") from None
    if done.status != 0:
        raise ApiError(f"{server.name}: kubectl {arguments[0]}: {done.problem}")
    return done.output


def _json(server: Container, text: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(text)
    except (ValueError, RecursionError):
        raise ApiError(f"{server.name}: kubectl printed no JSON: {text.strip()[-200:]}") from None
    return found
