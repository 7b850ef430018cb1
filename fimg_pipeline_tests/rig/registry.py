"""A real registry, in a container, on a port of loopback that the engine's machine has free."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import bcrypt
import trustme

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.engine.client import Engine
from fimg_pipeline_tests.rig.archive import archive
from fimg_pipeline_tests.rig.standins import standin

_READY_SECONDS = 30


@dataclass(frozen=True)
class Registry:
    """``name`` comes before the first slash of its images' names; ``ca`` vouches for it (PEM), if it has TLS."""

    name: str
    engine: Engine
    ca: bytes | None
    container: Any

    def give_room(self, disk: str) -> None:
        """Makes its disk larger, from outside: it has no right to do so itself."""
        process = self.container.attrs["State"]["Pid"]
        command = ["nsenter", "--target", str(process), "--mount", "mount", "-o", f"remount,size={disk}"]
        debian = BASES["debian"].local_reference(self.engine.platform)
        status, output = self.engine.run(debian, [*command, "/var/lib/registry"], timeout=60, administers=True)
        assert status == 0, output

    def damage(self, digest: str, how: str) -> None:
        """Runs the command ``how`` on the file of a blob."""
        blob = f"/var/lib/registry/docker/registry/v2/blobs/sha256/{digest[7:9]}/{digest[7:]}/data"
        assert self.container.exec_run(["sh", "-c", f"{how} {blob}"]).exit_code == 0

    def push(self, image: str, repository: str, tag: str) -> str:
        """Pushes an image of the engine under another name, by the engine; the digest the registry has it by."""
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
def registry(*, login: tuple[str, str] | None = None, tls: bool = False, disk: str | None = None) -> Iterator[Registry]:
    """A started registry, empty; gone with the block.

    ``login``: the user and password it asks for. ``tls``: with a certificate of a CA of its own. ``disk``: how much it
    has (``20m``).
    """
    engine = Engine()
    image = standin(engine, "registry", "localhost/fimg-test/registry:2")
    files: dict[str, bytes] = {}
    environment: dict[str, str] = {}
    authority = trustme.CA() if tls else None
    if authority is not None:
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        files["registry.crt"] = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        files["registry.key"] = certificate.private_key_pem.bytes()
        environment |= {
            "REGISTRY_HTTP_TLS_CERTIFICATE": "/etc/docker/registry/registry.crt",
            "REGISTRY_HTTP_TLS_KEY": "/etc/docker/registry/registry.key",
        }
    if login is not None:
        user, password = login
        files["htpasswd"] = f"{user}:".encode() + bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)) + b"\n"
        environment |= {
            "REGISTRY_AUTH_HTPASSWD_REALM": "tests",
            "REGISTRY_AUTH_HTPASSWD_PATH": "/etc/docker/registry/htpasswd",
        }
    # A port of its own choice: types-docker does not know that it may be None.
    anywhere: Any = {"5000/tcp": ("127.0.0.1", None)}
    container = engine.sdk.containers.create(
        image,
        detach=True,
        ports=anywhere,
        environment=environment,
        tmpfs={"/var/lib/registry": f"size={disk}"} if disk else {},
    )
    try:
        container.put_archive("/etc/docker/registry", archive(files))
        container.start()
        container.reload()
        found: Any = container.ports
        port = int(found["5000/tcp"][0]["HostPort"])
        _wait(port, tls)
        ca = None if authority is None else authority.cert_pem.bytes()
        yield Registry(f"127.0.0.1:{port}", engine, ca, container)
    finally:
        container.remove(force=True, v=True)


def _wait(port: int, tls: bool) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    # Whether it answers, not whether it is to be trusted.
    context = ssl._create_unverified_context()
    while True:
        connection = (
            http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
            if tls
            else http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        )
        try:
            connection.request("GET", "/v2/")
            if connection.getresponse().status in (200, 401):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
        finally:
            connection.close()
        time.sleep(0.2)
