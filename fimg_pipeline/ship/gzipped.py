"""Gzip without compression, around what is compressed already: it has the form, and costs a checksum.

RFC 1951, section 3.2.4 (stored blocks); RFC 1952 (gzip). Blocks are of one size however the data comes, so equal data
is an equal file, which libraries don't promise.
"""

from __future__ import annotations

import io
import struct
from typing import Final, Protocol

from isal import isal_zlib

_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_BLOCK: Final = 65535


class Sink(Protocol):
    """What can be written to."""

    def write(self, data: bytes, /) -> int | None: ...


class StoredGzip(io.RawIOBase):
    """Writes a gzip file to ``sink``; :meth:`close` ends it and leaves ``sink`` open."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._pending = bytearray()
        self._checksum = 0
        self._size = 0
        sink.write(_HEADER)

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self._checksum = isal_zlib.crc32(data, self._checksum)
        self._size += len(data)
        self._pending += data
        whole = len(self._pending) // _BLOCK * _BLOCK
        if whole:
            pieces = [self._pending[start : start + _BLOCK] for start in range(0, whole, _BLOCK)]
            self._sink.write(b"".join(part for piece in pieces for part in (_head(piece, last=False), piece)))
            del self._pending[:whole]
        return len(data)

    def close(self) -> None:
        if self.closed:
            return
        self._sink.write(_head(self._pending, last=True) + self._pending)
        self._sink.write(struct.pack("<II", self._checksum, self._size & 0xFFFFFFFF))
        super().close()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        # What was not written to its end gets none.
        if kind is None:
            self.close()
        else:
            super().close()


def _head(block: bytearray, *, last: bool) -> bytes:
    return struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF)


def stored_size(size: int) -> int:
    """How large the gzip of ``size`` bytes is."""
    return len(_HEADER) + size + 5 * (size // _BLOCK + 1) + 8
