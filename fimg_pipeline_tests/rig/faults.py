"""A registry's bad days: what stands between us and a real one, and now and then answers in its place."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Fault:
    """Befalls the first ``times`` requests of ``method`` whose path has ``part`` in it.

    ``status`` is answered instead (with ``headers`` and ``body``); without one, the connection is cut after ``after``
    bytes of the request's body.
    """

    method: str
    part: str
    times: int
    status: int | None = None
    after: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Between(ThreadingHTTPServer):
    """Hands requests on to ``target`` (HOST:PORT), unless a fault is due."""

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.faults: list[Fault] = []
        #: Every request: method and path.
        self.seen: list[tuple[str, str]] = []
        self.lock = threading.Lock()
        #: Seconds it lets everybody wait.
        self.latency = 0.0

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def due(self, method: str, path: str) -> Fault | None:
        with self.lock:
            self.seen.append((method, path))
            for fault in self.faults:
                if fault.times and fault.method == method and fault.part in path:
                    fault.times -= 1
                    return fault
        return None

    def handle_error(self, request: object, client_address: object) -> None:
        """Quiet: clients that are cut off cut off, too."""


class _Handler(BaseHTTPRequestHandler):
    server: Between
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        time.sleep(self.server.latency)
        size = int(self.headers.get("Content-Length", 0))
        fault = self.server.due(self.command, self.path)
        if fault is not None and fault.status is None:
            self.rfile.read(min(size, fault.after))
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        body = self.rfile.read(size)
        if fault is not None:
            self.send_response(fault.status or 500)
            for name, value in {"Content-Length": str(len(fault.body)), **fault.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(fault.body)
            return
        connection = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            # With the name it was asked by: the registry says by it where uploads go. Headers may come several times:
            # Docker says in one each what manifests it understands, in any order.
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", answer.getheader("Content-Length") or str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        finally:
            connection.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def between(target: str) -> Iterator[Between]:
    with Between(target) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
