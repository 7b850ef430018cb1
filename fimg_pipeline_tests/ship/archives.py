"""Archives as engines save them, in both of their forms, from a few bytes a layer."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


def layer(text: str, size: int = 2000) -> bytes:
    """A layer's tar: one file with ``text`` in it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        content = (text * size)[:size].encode()
        member = tarfile.TarInfo(f"file-{text}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def diff_id(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True)
class Image:
    """An image to be: the layers' tars, lowest first, and something that makes its configuration its own."""

    layers: Sequence[bytes]
    comment: str = ""
    architecture: str = "amd64"

    @property
    def config(self) -> bytes:
        diff_ids = [diff_id(content) for content in self.layers]
        return json.dumps(
            {
                "architecture": self.architecture,
                "comment": self.comment,
                "config": {"Labels": {"org.opencontainers.image.revision": "abc"}},
                "os": "linux",
                "rootfs": {"diff_ids": diff_ids, "type": "layers"},
            }
        ).encode()

    @property
    def image_id(self) -> str:
        return diff_id(self.config)


def saved_by_old_engine(images: Sequence[Image]) -> bytes:
    """As Docker until 24 does: a folder per layer and what is below it, a link where the same tar is elsewhere."""
    members: dict[str, bytes | str] = {}
    first: dict[bytes, str] = {}
    entries = []
    for image in images:
        paths, chain = [], ""
        for content in image.layers:
            chain = hashlib.sha256(f"{chain} {diff_id(content)}".encode()).hexdigest()
            path = f"{chain}/layer.tar"
            members[f"{chain}/VERSION"] = b"1.0"
            if first.setdefault(content, path) == path:
                members[path] = content
            else:
                members[path] = f"../{first[content]}"
            paths.append(path)
        name = f"{image.image_id[7:]}.json"
        members[name] = image.config
        entries.append({"Config": name, "RepoTags": None, "Layers": paths})
    return tar_of({**dict(sorted(members.items())), "manifest.json": json.dumps(entries).encode()})


def saved_by_new_engine(images: Sequence[Image], *, packed: bool = False) -> bytes:
    """As Docker from 25 on does: an OCI layout, with layers compressed where it keeps them so, as in containerd."""
    members: dict[str, bytes | str] = {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}'}
    entries, indexes = [], []
    for image in images:
        paths = []
        for content in image.layers:
            blob = gzip.compress(content, mtime=0) if packed else content
            paths.append(f"blobs/sha256/{diff_id(blob)[7:]}")
            members[paths[-1]] = blob
        config = f"blobs/sha256/{image.image_id[7:]}"
        members[config] = image.config
        entries.append({"Config": config, "RepoTags": None, "Layers": paths})
        parts = containerd_parts(image)
        members |= {f"blobs/sha256/{diff_id(part)[7:]}": part for part in parts}
        indexes.append({"digest": diff_id(parts[-1])})
    members["index.json"] = json.dumps({"manifests": indexes}).encode()
    return tar_of({**dict(sorted(members.items())), "manifest.json": json.dumps(entries).encode()})


def containerd_parts(image: Image) -> tuple[bytes, bytes, bytes]:
    """What containerd has besides: an attestation, the image's manifest, and the index of both, whose digest is its id.

    The index names another platform's manifest, too, which is elsewhere.
    """
    manifest = json.dumps({"config": {"digest": image.image_id}}).encode()
    attestation = json.dumps({"config": {"digest": f"sha256:{'1' * 64}"}}).encode()
    index = {
        "manifests": [
            {"digest": diff_id(attestation), "platform": {"os": "unknown"}},
            {"digest": f"sha256:{'2' * 64}", "platform": {"os": "linux", "architecture": "s390x"}},
            {"digest": diff_id(manifest), "platform": {"os": "linux", "architecture": image.architecture}},
        ]
    }
    return attestation, manifest, json.dumps(index).encode()


def containerd_id(image: Image) -> str:
    """What an engine that keeps its images in containerd calls one."""
    return diff_id(containerd_parts(image)[-1])


def tar_of(members: Mapping[str, bytes | str]) -> bytes:
    """``str`` is where a link leads."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()
