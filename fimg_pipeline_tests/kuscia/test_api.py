"""Comparing AppImages, and applying one to a server on its bad days.

The server is played: a real one that hangs takes two minutes each time, and one that somebody changes at the very
moment can't be had to order. Real ones are in ``test_registration_app_images.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from fimg_pipeline.engine.containers import ContainerError, Done
from fimg_pipeline.kuscia.api import ApiError, OtherwiseError, UnseenError, apply, differences, try_out

DOCUMENT = {
    "apiVersion": "kuscia.secretflow/v1alpha1",
    "kind": "AppImage",
    "metadata": {"name": "a"},
    "spec": {"image": {"name": "b", "tag": "c"}},
}


@dataclass
class Server:
    """A container whose kubectl keeps one AppImage; ``then`` is called after each command with its first word."""

    found: dict[str, Any] | None = None
    then: Callable[[str], None] = lambda _: None
    name: str = "node"
    version: int = 0
    said: list[str] = field(default_factory=list)

    def run(self, command: Sequence[str], given: bytes = b"") -> Done:
        words = list(command[2:])
        self.said.append(words[0])
        done = self._answer(words, json.loads(given) if given else {})
        if "--dry-run=server" not in words:
            self.then(words[0])
        return done

    def _answer(self, words: list[str], document: dict[str, Any]) -> Done:
        if "--dry-run=server" in words:
            return Done(0, json.dumps(document), "")
        if words[0] == "get":
            return Done(0, json.dumps(self.found) if self.found else "", "")
        if words[0] == "create" and self.found is not None:
            return Done(1, "", "Error from server (AlreadyExists)")
        if words[0] == "replace":
            if self.found is None or document["metadata"]["resourceVersion"] != str(self.version):
                return Done(1, "", "Error from server (Conflict)")
            if document["spec"] == self.found["spec"]:
                return Done(0, "", "")
        self.put(document)
        return Done(0, "", "")

    def put(self, document: Mapping[str, Any]) -> None:
        self.version += 1
        metadata = {**document["metadata"], "resourceVersion": str(self.version)}
        self.found = {**document, "metadata": metadata}


def applied(server: Any) -> str:
    return apply(server, DOCUMENT)


def with_spec(**spec: Any) -> dict[str, Any]:
    return {**DOCUMENT, "spec": {**DOCUMENT["spec"], **spec}}  # type: ignore[dict-item]


def test_created_configured_unchanged() -> None:
    server = Server()
    assert [applied(server), applied(server)] == ["created", "unchanged"]
    server.put(with_spec(other=1))
    assert applied(server) == "configured" and server.found is not None and server.found["spec"] == DOCUMENT["spec"]


def test_somebody_who_is_quicker_is_written_over() -> None:
    server = Server()
    left = [3]

    def quicker(word: str) -> None:
        # Between reading and writing.
        if word == "get" and left[0]:
            left[0] -= 1
            server.put(with_spec(other=left[0]))

    server.then = quicker
    assert applied(server) == "configured"
    assert server.said.count("replace") == 3


def test_somebody_who_is_always_quicker_is_told() -> None:
    server = Server(DOCUMENT | {"metadata": {"name": "a", "resourceVersion": "0"}})
    server.then = lambda word: server.put(with_spec(other=server.version)) if word == "get" else None
    with pytest.raises(ApiError, match=r"node: kubectl replace: .*Conflict"):
        applied(server)
    assert server.said.count("replace") == 5


def test_a_server_that_takes_it_and_hangs_is_looked_at() -> None:
    server = Server()
    server.put(with_spec(other=1))

    def hang(word: str) -> None:
        if word == "replace":
            raise ContainerError("node: kubectl has not ended within 120 s, and may still do what it was to")

    server.then = hang
    assert applied(server) == "configured"


def test_a_server_that_takes_it_and_does_not_answer_is_not_denied() -> None:
    server = Server()
    server.put(with_spec(other=1))

    def hang(word: str) -> None:
        if word == "get" and "replace" in server.said:
            raise ContainerError("node: kubectl has not ended within 120 s")

    server.then = hang
    with pytest.raises(UnseenError, match="node: it was sent, and what became of it can't be seen: kubectl has not"):
        applied(server)


def test_what_somebody_changes_right_afterwards_is_told_as_that() -> None:
    server = Server()
    server.then = lambda word: server.put(with_spec(id="zz")) if word == "create" else None
    with pytest.raises(OtherwiseError, match=r"node: it was taken, and is otherwise by now: spec\.id"):
        applied(server)


def test_one_that_is_being_deleted_is_known_before_anything_is_sent() -> None:
    server: Any = Server()
    server.put({**DOCUMENT, "metadata": {"name": "a", "deletionTimestamp": "now", "finalizers": ["x/y"]}})
    with pytest.raises(ApiError, match=r"AppImage a is being deleted \(metadata.deletionTimestamp\), held by x/y"):
        try_out(server, DOCUMENT)


@pytest.mark.parametrize(
    ("wanted", "found", "paths"),
    [
        ({"a": 1}, {"a": 1, "state": {}}, []),
        ({"spec": {"image": {"tag": "1"}}}, {"spec": {"image": {"tag": "2"}}}, ["spec.image.tag"]),
        ({"ports": [{"name": "a"}]}, {"ports": [{"name": "a", "scope": "Local"}]}, []),
        ({"ports": [{"name": "a"}]}, {"ports": [{"name": "a"}, {"name": "b"}]}, ["ports"]),
        ({"ports": [{"name": "a"}]}, {"ports": [{"name": "b"}]}, ["ports[0].name"]),
        ({"spec": {"a": 1}}, {}, ["spec"]),
        ({"a": "2.0"}, {"a": 2.0}, ["a"]),
    ],
)
def test_differences(wanted: Any, found: Any, paths: list[str]) -> None:
    assert differences(wanted, found) == paths
