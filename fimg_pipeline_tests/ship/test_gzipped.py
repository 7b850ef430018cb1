"""Gzip that only stores."""

from __future__ import annotations

import errno
import gzip
import io
import os

import pytest

from fimg_pipeline.ship.gzipped import StoredGzip, stored_size


def stored(content: bytes, piece: int) -> bytes:
    sink = io.BytesIO()
    with StoredGzip(sink) as file:
        for start in range(0, len(content), piece):
            file.write(content[start : start + piece])
    return sink.getvalue()


@pytest.mark.parametrize("size", [0, 1, 65534, 65535, 65536, 3 * 65535, 1_000_000])
def test_it_is_gzip_of_the_size_that_was_foreseen(size: int) -> None:
    content = os.urandom(size)
    packed = stored(content, 1 << 20)
    assert gzip.decompress(packed) == content
    assert len(packed) == stored_size(size)


@pytest.mark.parametrize("piece", [999, 65535, 70_000])
def test_equal_content_is_an_equal_file(piece: int) -> None:
    content = os.urandom(300_000)
    assert stored(content, piece) == stored(content, 300_000)


def test_a_disk_that_is_full_is_what_is_told() -> None:
    class Full(io.BytesIO):
        def write(self, data: object, /) -> int:
            if self.tell() > 100_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data)  # type: ignore[arg-type]

    sink = Full()
    with pytest.raises(OSError, match="No space left"), StoredGzip(sink) as file:
        file.write(os.urandom(1 << 20))
    with pytest.raises(EOFError):
        gzip.decompress(sink.getvalue())
