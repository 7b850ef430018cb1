"""Contexts are deterministic tars that any tar reader takes."""

from __future__ import annotations

import io
import tarfile

from fimg_pipeline.engine.context import EPOCH, ContextFile, tar_stream

FILES = [
    ContextFile("Dockerfile", b"FROM scratch\n"),
    ContextFile("src/bin/run.sh", b"#!/bin/sh\n", executable=True),
    ContextFile("src/bin/link", link="run.sh"),
    ContextFile("src/" + "long/" * 60 + "name", b"x" * 100_000),
    ContextFile("src/杨强.pdf", b"pdf"),
]


def test_equal_content_equal_bytes() -> None:
    assert b"".join(tar_stream(FILES)) == b"".join(tar_stream(list(FILES)))


def test_what_comes_out() -> None:
    with tarfile.open(fileobj=io.BytesIO(b"".join(tar_stream(FILES)))) as tar:
        members = {member.name: member for member in tar}
        content = tar.extractfile("src/bin/run.sh")
        assert content is not None and content.read() == b"#!/bin/sh\n"
    assert {file.path for file in FILES} <= set(members)
    assert members["src"].isdir() and members["src/bin"].isdir()
    assert members["src/bin/run.sh"].mode == 0o755 and members["Dockerfile"].mode == 0o644
    assert members["src/bin/link"].issym() and members["src/bin/link"].linkname == "run.sh"
    assert {(m.mtime, m.uid, m.gid, m.uname) for m in members.values()} == {(EPOCH, 0, 0, "")}


def test_it_streams() -> None:
    """Nothing is held back until the end: a context larger than memory is sent as it is read."""
    read: list[str] = []

    def files() -> object:
        for number in range(50):
            read.append(str(number))
            yield ContextFile(f"f{number}", b"x" * 100_000)

    next(iter(tar_stream(files())))  # type: ignore[arg-type]
    assert len(read) < 5
