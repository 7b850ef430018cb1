"""A real registry, in a container, on a port of loopback that the engine's machine has free."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from fimg_pipeline.engine.client import Engine
from fimg_pipeline_tests.rig.standins import standin

_READY_SECONDS = 30


@dataclass(frozen=True)
class Registry:
    """``name`` is what comes before the first slash of its images' names."""

    name: str
    engine: Engine

    def push(self, image: str, repository: str, tag: str) -> str:
        """Pushes an image of the engine under another name; the digest the registry has it by."""
        reference = f"{self.name}/{repository}:{tag}"
        self.engine.tag(image, reference)
        try:
            events: Any = self.engine.sdk.images.push(f"{self.name}/{repository}", tag=tag, stream=True, decode=True)
            digests = [event["aux"]["Digest"] for event in events if "Digest" in event.get("aux", {})]
        finally:
            self.engine.remove(reference)
        assert digests, f"{reference} was not pushed"
        return str(digests[0])


@contextmanager
def registry() -> Iterator[Registry]:
    """A started registry, empty; gone with the block."""
    engine = Engine()
    image = standin(engine, "registry", "localhost/fimg-test/registry:2")
    # A port of its own choice: types-docker does not know that it may be None.
    anywhere: Any = {"5000/tcp": ("127.0.0.1", None)}
    container = engine.sdk.containers.run(image, detach=True, ports=anywhere)
    try:
        container.reload()
        found: Any = container.ports
        port = found["5000/tcp"][0]["HostPort"]
        deadline = time.monotonic() + _READY_SECONDS
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=5):
                    break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
        yield Registry(f"127.0.0.1:{port}", engine)
    finally:
        container.remove(force=True, v=True)
