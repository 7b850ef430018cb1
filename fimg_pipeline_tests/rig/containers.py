"""Containers on a network of their own, started as deployments start them; gone with the block that asked for them."""

from __future__ import annotations

import time
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from docker.models.containers import Container

from fimg_pipeline.engine.client import Engine


@dataclass(frozen=True)
class Service:
    """A running container; others on its network reach it by ``name``, this machine by ``address``."""

    name: str
    container: Container

    @property
    def address(self) -> str:
        self.container.reload()
        (network,) = self.container.attrs["NetworkSettings"]["Networks"].values()
        address: str = network["IPAddress"]
        return address

    @property
    def log(self) -> str:
        return b"".join(self.container.logs(stream=True, follow=False)).decode("utf-8", "replace")

    def execute(self, command: str, *, status: int = 0) -> str:
        """Runs a shell command in the container; its output, or an error that has it when it ends otherwise."""
        done: Any = self.container.exec_run(["bash", "-c", command])
        output: str = done.output.decode("utf-8", "replace")
        if done.exit_code != status:
            raise RuntimeError(
                f"{self.name}: {command} ended with {done.exit_code}:\n{output}\nits log:\n{self.log[-3000:]}"
            )
        return output

    def answer(self, port: int, path: str, data: bytes | None = None) -> bytes:
        """What it answers by HTTP."""
        request = urllib.request.Request(f"http://{self.address}:{port}{path}", data=data)
        with urllib.request.urlopen(request, timeout=10) as response:
            body: bytes = response.read()
            return body

    def wait_for(self, port: int, path: str, data: bytes | None = None, seconds: float = 120) -> bytes:
        """What it answers by HTTP, once it does."""
        found: list[bytes] = []

        def answered() -> bool:
            try:
                found.append(self.answer(port, path, data))
            except OSError:
                return False
            return True

        self.wait_until(f"port {port} answers", answered, seconds)
        return found[0]

    def wait_until(self, what: str, happened: Callable[[], bool], seconds: float = 120) -> None:
        """Until ``happened``; an error with the container's log when it ends before, or time is up."""
        deadline = time.monotonic() + seconds
        while not happened():
            self.container.reload()
            if self.container.status != "running" or time.monotonic() > deadline:
                raise AssertionError(
                    f"{self.name} is {self.container.status}, no sign that {what}:\n{self.log[-3000:]}"
                )
            time.sleep(0.3)


@dataclass(frozen=True)
class Network:
    """Starts services that find each other by name."""

    engine: Engine
    name: str

    def start(
        self,
        name: str,
        reference: str,
        command: Sequence[str] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        volumes: Sequence[str] = (),
    ) -> Service:
        """Starts ``reference``; without ``command`` by the image's own. ``volumes``: ``HOST:CONTAINER``."""
        options: dict[str, Any] = {} if command is None else {"command": list(command)}
        container = self.engine.sdk.containers.run(
            reference,
            detach=True,
            hostname=name,
            # By this name the others find it, whatever else runs on the engine.
            network=self.name,
            networking_config={self.name: self.engine.sdk.api.create_endpoint_config(aliases=[name])},
            environment=dict(environment or {}),
            volumes=list(volumes),
            labels={"io.fimg.test": self.name},
            **options,
        )
        return Service(name, container)


@contextmanager
def network(engine: Engine) -> Iterator[Network]:
    """A network; when the block ends its containers and itself are removed."""
    name = f"fimg-test-{uuid.uuid4().hex[:8]}"
    created = engine.sdk.networks.create(name)
    try:
        yield Network(engine, name)
    finally:
        for container in engine.sdk.containers.list(all=True, filters={"label": f"io.fimg.test={name}"}):
            container.remove(force=True, v=True)
        created.remove()
