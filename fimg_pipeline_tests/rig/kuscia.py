"""Kuscia's nodes as far as registering goes: containers with real containerd, etcd, kube-apiserver and kubectl."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from docker.models.containers import Container

from fimg_pipeline.engine.client import Engine
from fimg_pipeline_tests.rig.standins import standin

Role = Literal["lite", "master", "autonomy"]
_READY_SECONDS = 120
CTR = "ctr --address /home/kuscia/containerd/run/containerd.sock --namespace k8s.io"


@dataclass(frozen=True)
class KusciaNode:
    """A started node; ``execute`` runs a shell command in it."""

    container: Container

    @property
    def name(self) -> str:
        return str(self.container.name)

    def execute(self, command: str, *, status: int = 0) -> str:
        done: Any = self.container.exec_run(["bash", "-c", command])
        output = str(done.output.decode("utf-8", "replace"))
        assert done.exit_code == status, f"{self.name}: {command} ended with {done.exit_code}: {output}"
        return output

    def images(self) -> list[str]:
        """The names of the images it lists."""
        return self.execute(f"{CTR} images ls -q").split()

    def image_id(self, reference: str) -> str:
        """The id of the image of a name: of its configuration."""
        listed = self.execute(f"{CTR} images ls name=={reference}")
        digest = listed.splitlines()[-1].split()[2]
        # An engine at work loses now and then what a command that is quickly over has said.
        manifest = next(filter(None, (self.execute(f"{CTR} content get {digest}") for _ in range(3))), "")
        assert manifest, f"{self.name} has no manifest {digest}:\n{listed}"
        return str(json.loads(manifest)["config"]["digest"])

    def app_image(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.execute(f"kubectl get appimages.kuscia.secretflow {name} -o json"))
        return found

    def app_images(self) -> list[str]:
        return self.execute("kubectl get appimages.kuscia.secretflow -o name").split()


@dataclass
class Kuscia:
    """Nodes of one user, started as they are asked for."""

    engine: Engine
    image: str
    user: str
    nodes: dict[str, KusciaNode] = field(default_factory=dict)

    def start(self, role: Role, names: Sequence[str], *, disk: str | None = None) -> list[KusciaNode]:
        """Starts nodes ``USER-kuscia-NAME`` and waits for all of them. ``disk``: how much they have (``20m``)."""
        started = []
        for name in names:
            container = self.engine.sdk.containers.run(
                self.image,
                [role],
                name=f"{self.user}-kuscia-{name}",
                detach=True,
                network_mode="none",
                cap_add=["SYS_ADMIN"],
                security_opt=["seccomp=unconfined", "apparmor=unconfined"],
                tmpfs={"/home/kuscia/containerd": f"size={disk},exec"} if disk else {},
            )
            self.nodes[name] = KusciaNode(container)
            started.append(self.nodes[name])
        for node in started:
            _wait(node.container)
        return started


@contextmanager
def kuscia() -> Iterator[Kuscia]:
    """A deployment without nodes; those that are started are gone with the block."""
    engine = Engine()
    rig = Kuscia(engine, standin(engine, "kuscia", "localhost/fimg-test/kuscia:1"), f"test{uuid.uuid4().hex[:8]}")
    try:
        yield rig
    finally:
        for container in engine.sdk.containers.list(all=True, filters={"name": f"^/?{rig.user}-"}):
            container.remove(force=True, v=True)


def _wait(container: Container) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while b"the node is ready" not in container.logs():
        container.reload()
        assert container.status == "running" and time.monotonic() < deadline, container.logs(tail=30).decode()
        time.sleep(0.2)
