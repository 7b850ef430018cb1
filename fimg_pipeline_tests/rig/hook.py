"""A webhook that people's messages go to: what it is sent stays to be read."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: What nobody may ever see of its address.
SECRET = "s3cret-token"


class Hook(ThreadingHTTPServer):
    """Keeps what it is sent; answers ``status`` after ``seconds``."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[dict[str, Any]] = []
        self.status = 200
        self.seconds = 0.0

    @property
    def url(self) -> str:
        return f"json://{SECRET}:x@127.0.0.1:{self.server_address[1]}/hook"


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        text = self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(self.server.seconds)
        if self.server.status == 200:
            self.server.received.append(json.loads(text))
        self.send_response(self.server.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@contextmanager
def webhook() -> Iterator[Hook]:
    """One that listens while the block runs."""
    with Hook() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
