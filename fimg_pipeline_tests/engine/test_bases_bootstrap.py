"""Base images pulled from a registry and bootstrapped, by the engine itself, under names of the tests' own."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fimg_pipeline import freshness
from fimg_pipeline import settings as settings_module
from fimg_pipeline.catalog.bases import BASES, ExternalBase
from fimg_pipeline.catalog.platforms import PLATFORMS, Platform
from fimg_pipeline.engine.bases import ensure_base, newest
from fimg_pipeline.engine.bases.bootstrap import LABEL_ORIGIN, Bootstrap, Ground
from fimg_pipeline.engine.bases.debian import write_unpacked
from fimg_pipeline.engine.bases.packages import download, fetch_keyring
from fimg_pipeline.engine.bases.suites import SUITES
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.emulation import ensure_emulation, runs
from fimg_pipeline.engine.hub import MirrorError, MirrorUnreachableError, PullFailure
from fimg_pipeline.settings import Settings

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class OwnBase(ExternalBase):
    """A base under a name that no build uses."""

    @property
    def local_repository(self) -> str:
        return f"localhost/fimg-test/{os.getpid()}/{self.name}"


def own(name: str) -> OwnBase:
    base = BASES[name]
    return OwnBase(base.name, base.reference, base.purpose)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    engine = Engine()
    yield engine
    # By one listing: others may remove theirs meanwhile.
    for tag in engine.state().by_reference:
        if tag.startswith(f"localhost/fimg-test/{os.getpid()}/"):
            engine.remove(tag)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The environment's mirrors and CA, with a state folder of its own; a Debian mirror is always set.

    Alone it has to do for security updates too: what is in the bases and what is added to them must fit.
    """
    folder = tmp_path_factory.mktemp("home")
    own = {"FIMG_HOME": str(folder)}
    mirror = settings_module.load(own, directory=folder).apt_mirror or settings_module.DEBIAN
    return settings_module.load({**own, "APT_MIRROR": mirror}, directory=folder)


@pytest.fixture(scope="module")
def debian(engine: Engine, settings: Settings) -> Ground:
    """A Debian bookworm, bootstrapped once for this module."""
    base, platform = own("debian"), engine.platform
    made = Bootstrap(engine, settings, _no_ground, print).debian(base, platform)
    return Ground(base.local_reference(platform), base.reference, made.origin)


def _no_ground(name: str, platform: Platform) -> Ground:
    raise AssertionError(f"nothing here stands on {name} for {platform}")


def output(engine: Engine, image: str, script: str) -> str:
    status, text = engine.run(image, ["sh", "-ec", script], timeout=120)
    assert status == 0, text
    return text


def test_a_bootstrapped_debian_is_slim_and_of_nobodys_machine(
    engine: Engine, settings: Settings, debian: Ground
) -> None:
    record = engine.inspect(debian.local)
    assert record is not None
    assert record["Config"]["Labels"][LABEL_ORIGIN] == debian.origin
    assert record["Architecture"] == engine.platform
    assert record["Size"] < 120_000_000
    text = output(
        engine,
        debian.local,
        ". /etc/os-release; echo $VERSION_CODENAME; wc -c </etc/machine-id; dpkg --audit; apt-get -qq check; "
        "find /var/lib/apt/lists /var/cache/apt /usr/share/man -type f; cat /etc/apt/sources.list.d/debian.sources",
    )
    # Nothing between what was asked: no package is half installed, no list, archive or manual is left.
    assert text.startswith("bookworm\n0\nTypes: deb\n"), text
    assert "URIs: http://deb.debian.org/debian\n" in text
    assert not list((settings.home / "scratch").iterdir()), "neither packages nor trees stay on this machine"


def test_a_python_made_here_runs_and_trusts_nobody_new(engine: Engine, settings: Settings, debian: Ground) -> None:
    base, platform = own("python"), engine.platform
    local = base.local_reference(platform)

    def ground(name: str, platform: Platform) -> Ground:
        if name == "debian":
            return debian
        bullseye = own("bullseye")
        made = Bootstrap(engine, settings, _no_ground, print).debian(bullseye, platform)
        return Ground(bullseye.local_reference(platform), bullseye.reference, made.origin)

    made = Bootstrap(engine, settings, ground, print).python(base, platform)
    text = output(
        engine,
        local,
        "python3 -c 'import sys, ssl, sqlite3, bz2, lzma, ctypes; print(sys.version_info[:2])'; "
        "python -m venv /tmp/v; /tmp/v/bin/pip --version; "
        "python3 -c 'import sysconfig; print(sysconfig.get_config_vars())'; ls -A /run/secrets /run/fimg 2>&1 || true; "
        "cat /etc/ssl/certs/ca-certificates.crt",
    )
    assert text.startswith(("(3, 8)", "(3, 9)"))
    assert "pip 2" in text
    assert str(Path.home() / ".pyenv") not in text
    record = engine.inspect(local)
    assert record is not None and record["Config"]["Labels"][LABEL_ORIGIN] == made.origin
    distribution = output(engine, local, "cat /usr/share/ca-certificates/mozilla/*.crt")
    known = set(certificates(distribution))
    assert known and set(certificates(text)) <= known


def certificates(text: str) -> list[str]:
    return ["".join(part.partition("-----END")[0].split()) for part in text.split("BEGIN CERTIFICATE-----")[1:]]


def test_another_architectures_programs_become_runnable(engine: Engine, settings: Settings, debian: Ground) -> None:
    other = next(platform for platform in PLATFORMS if platform != engine.platform)
    ensure_emulation(other, engine, settings, debian=lambda: debian.local, log=print)
    assert runs(other, engine, settings)


def test_any_user_can_download_packages(settings: Settings) -> None:
    """By name of nobody where the tests run as root: bootstrapping may need nothing but the engine."""
    mirrors = Bootstrap(Engine(), settings, _no_ground, print).mirrors
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o777)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                if os.geteuid() == 0:
                    os.setgroups([])
                    os.setgid(65534)
                    os.setuid(65534)
                found = download(SUITES["bookworm"], "arm64", mirrors, work, print)
                write_unpacked(found.files, "arm64", work / "unpacked.tar")
                status = 0 if len(found.files) > 50 else 2
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_debians_keys_come_from_this_machines_own_sources(settings: Settings, tmp_path: Path) -> None:
    mirrors = Bootstrap(Engine(), settings, _no_ground, print).mirrors
    keyring = fetch_keyring("apt-get", mirrors, tmp_path)
    assert keyring.name == "debian-archive-keyring.gpg" and keyring.stat().st_size > 1000


class TinyRegistry(ThreadingHTTPServer):
    """Serves one image, ``library/debian:bookworm-slim`` for every platform, by the registry protocol."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), TinyRegistryHandler)
        self.contents: dict[str, tuple[str, bytes]] = {}
        self.update()

    def update(self) -> None:
        """Serves another image from now on, the earlier ones by their digests only."""
        manifests = [self._image(platform) for platform in PLATFORMS]
        media = "application/vnd.docker.distribution.manifest.list.v2+json"
        document = {"schemaVersion": 2, "mediaType": media, "manifests": manifests}
        self.digest = self._store(media, json.dumps(document).encode())
        self.contents["bookworm-slim"] = self.contents[self.digest]

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def _store(self, media: str, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        self.contents[digest] = (media, content)
        return digest

    def _image(self, platform: Platform) -> dict[str, object]:
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as archive:
            # Unlike any other run's, so that the engine has to fetch it.
            archive.addfile(tarfile.TarInfo(f"{platform}-{time.time_ns()}"))
        packed = gzip.compress(layer.getvalue())
        config = {
            "architecture": platform,
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
        }
        parts = {
            "config": ("application/vnd.docker.container.image.v1+json", json.dumps(config).encode()),
            "layer": ("application/vnd.docker.image.rootfs.diff.tar.gzip", packed),
        }
        described = {
            name: {"mediaType": media, "size": len(content), "digest": self._store(media, content)}
            for name, (media, content) in parts.items()
        }
        media = "application/vnd.docker.distribution.manifest.v2+json"
        manifest = {
            "schemaVersion": 2,
            "mediaType": media,
            "config": described["config"],
            "layers": [described["layer"]],
        }
        content = json.dumps(manifest).encode()
        entry = {"mediaType": media, "size": len(content), "digest": self._store(media, content)}
        return {**entry, "platform": {"architecture": platform, "os": "linux"}}


class TinyRegistryHandler(BaseHTTPRequestHandler):
    server: TinyRegistry

    def do_GET(self) -> None:
        key = self.path.rpartition("/")[2]
        known = self.path.startswith("/v2/library/debian/") and key in self.server.contents
        media, content = self.server.contents[key] if known else ("application/json", b"{}")
        self.send_response(200 if known or self.path == "/v2/" else 404)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(content)))
        if known:
            self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(content).hexdigest()}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def registry(engine: Engine) -> Iterator[TinyRegistry]:
    with TinyRegistry() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()
        engine.remove(f"{server.name}/library/debian@{server.digest}")


def test_a_mirrors_image_is_pulled_for_both_platforms(
    engine: Engine, settings: Settings, registry: TinyRegistry
) -> None:
    base, mirrored = own("debian"), replace(settings, docker_hub_mirror=registry.name)
    states = {
        platform: ensure_base(base, platform, mirrored, engine, refresh=True, log=print) for platform in PLATFORMS
    }
    for platform, state in states.items():
        record = engine.inspect(state.local)
        assert record is not None and record["Architecture"] == platform
        again = ensure_base(base, platform, mirrored, engine, log=print)
        assert not again.made and again.origin == f"pulled as {registry.digest}"
    assert states["amd64"].image_id != states["arm64"].image_id


def test_what_is_newer_is_seen_and_pulled_once_it_is_accepted(
    engine: Engine, settings: Settings, registry: TinyRegistry
) -> None:
    base, mirrored = own("debian"), replace(settings, docker_hub_mirror=registry.name)
    local = base.local_reference("amd64")
    first = ensure_base(base, "amd64", mirrored, engine, refresh=True, log=print)
    before = registry.digest
    registry.update()
    found = newest(mirrored, engine)
    assert found["debian:bookworm-slim"] == registry.digest != before
    assert isinstance(found["python:3.8-slim-bookworm"], PullFailure)
    freshness.seen(mirrored.home, {local: registry.digest})
    assert ensure_base(base, "amd64", mirrored, engine, log=print).image_id == first.image_id
    freshness.accept(mirrored.home)
    second = ensure_base(base, "amd64", mirrored, engine, log=print)
    assert second.made and second.image_id != first.image_id and registry.digest in second.digests
    assert not ensure_base(base, "amd64", mirrored, engine, log=print).made
    engine.remove(f"{registry.name}/library/debian@{before}")


def test_what_a_mirror_lacks_is_an_error(engine: Engine, settings: Settings, registry: TinyRegistry) -> None:
    mirrored = replace(settings, docker_hub_mirror=registry.name)
    with pytest.raises(MirrorError, match=r"python:3\.8-slim-bookworm: .*DOCKER_HUB_MIRROR=127\.0\.0\.1:\d+"):
        ensure_base(own("python"), "amd64", mirrored, engine, refresh=True, log=print)


def test_a_mirror_that_is_down_is_known_in_seconds(engine: Engine, settings: Settings, registry: TinyRegistry) -> None:
    name = registry.name
    registry.shutdown()
    registry.server_close()
    started = time.monotonic()
    with pytest.raises(MirrorUnreachableError, match="connection refused"):
        ensure_base(own("python"), "amd64", replace(settings, docker_hub_mirror=name), engine, refresh=True, log=print)
    assert time.monotonic() - started < 30
