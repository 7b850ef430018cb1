"""SHA-256 of what is read or written, beside the reading or writing."""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

#: Handing over less costs more than hashing it.
_SMALL: Final = 1 << 16


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Digest:
    """Hashes pieces in a thread of its own while its owner goes on; a piece must not change after it was handed over.

    At most one piece is waited for: the next one waits until it is hashed.
    """

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()
        self._pool: ThreadPoolExecutor | None = None
        self._hashing: Future[None] | None = None

    def update(self, piece: bytes | memoryview) -> None:
        self._settle()
        if len(piece) < _SMALL:
            self._sha256.update(piece)
            return
        if self._pool is None:
            # Its thread ends with the digest.
            self._pool = ThreadPoolExecutor(1)
        self._hashing = self._pool.submit(self._sha256.update, piece)

    def hex(self) -> str:
        """In hexadecimal digits."""
        self._settle()
        return self._sha256.hexdigest()

    def __str__(self) -> str:
        """As images and registries write it: ``sha256:…``."""
        return f"sha256:{self.hex()}"

    def _settle(self) -> None:
        if self._hashing is not None:
            self._hashing.result()
            self._hashing = None
