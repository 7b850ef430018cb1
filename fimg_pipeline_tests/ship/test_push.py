"""Publishing to a real registry on good and bad days. Images are a few bytes; what may fail is between us and it."""

from __future__ import annotations

import io
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import quote

import pytest

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.ship import push as pushing
from fimg_pipeline.ship import registry as client
from fimg_pipeline.ship.layers import Layer, LayerStore, ShipError
from fimg_pipeline.ship.push import missing, platform_tag, publication, push
from fimg_pipeline.ship.registry import Login
from fimg_pipeline.ship.saved import read_saved
from fimg_pipeline.ship.transport import GivenUpError, RegistryError, RegistryUnreachableError
from fimg_pipeline_tests.rig.faults import Between, Fault, between
from fimg_pipeline_tests.rig.registry import Registry, registry
from fimg_pipeline_tests.ship.archives import Image, saved_by_old_engine
from fimg_pipeline_tests.ship.publishing import noise, place, publications

pytestmark = pytest.mark.engine

LOGIN = ("release", "s3cret word")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many attempts as ever, but soon."""
    monkeypatch.setattr(client, "_FIRST_DELAY", 0.01)


@pytest.fixture(scope="module")
def plain() -> Iterator[Registry]:
    with registry() as started:
        yield started


@pytest.fixture(scope="module")
def guarded() -> Iterator[Registry]:
    """With TLS by a CA of its own, and a login."""
    with registry(login=LOGIN, tls=True) as started:
        yield started


def test_every_blob_is_sent_once_and_nothing_a_second_time(plain: Registry, tmp_path: Path) -> None:
    images = publications(tmp_path)
    with between(plain.name) as proxy:
        there = place(proxy.name)
        sent = push(there, "1", images, lambda _: None)
        # Three configurations, three layers of their own, and the one they share: sent to one, shared with two.
        assert (sent.blobs, sent.mounted, sent.present) == (7, 2, 0)
        assert len([path for method, path in proxy.seen if method == "PUT" and "/blobs/" in path]) == 7
        assert missing(there, "1", images) == {}
        proxy.seen.clear()
        again = push(there, "1", images, lambda _: None)
        assert (again.blobs, again.present) == (0, 3)
        assert {method for method, _ in proxy.seen} == {"HEAD"}


def test_images_that_come_later_share_what_is_there(plain: Registry, tmp_path: Path) -> None:
    images = publications(tmp_path)
    there = place(plain.name)
    push(there, "1", images[:1], lambda _: None)
    sent = push(there, "1", images, lambda _: None)
    assert (sent.blobs, sent.mounted, sent.present) == (4, 2, 1)


def test_a_layer_that_a_registry_lost_is_sent_again(plain: Registry, tmp_path: Path) -> None:
    images = publications(tmp_path)
    there = place(plain.name)
    push(there, "1", images, lambda _: None)
    plain.damage(images[0].blobs[0].described.digest, "rm")
    assert len(missing(there, "1", images)) == 3
    sent = push(there, "1", images, lambda _: None)
    assert sent.blobs + sent.mounted == 3 and sent.present == 0
    assert missing(there, "1", images) == {}


def test_a_layer_that_a_registry_has_not_all_of_is_told(plain: Registry, tmp_path: Path) -> None:
    """Debian's registry takes it for what it was and keeps it, whatever it is sent: the gate has to stay closed."""
    (image,) = publications(tmp_path, 1)
    there = place(plain.name)
    push(there, "1", [image], lambda _: None)
    layer_of_it = image.blobs[0].described
    plain.damage(layer_of_it.digest, "truncate --size=100")
    told = f"has 100 bytes of {layer_of_it.digest}, which has {layer_of_it.size}: its storage is damaged"
    assert told in missing(there, "1", [image])["image-0"][0]
    assert push(there, "1", [image], lambda _: None).present == 0
    assert told in missing(there, "1", [image])["image-0"][0]


def test_a_layer_that_takes_long_says_how_far_it_is(
    plain: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "_TOLD_SECONDS", 0)
    said: list[str] = []
    push(place(plain.name), "1", publications(tmp_path, 1, size=1_000_000), said.append)
    assert any(re.search(r"sent [0-9a-f]{12}: [1-9]\d%", line) for line in said), said


def test_an_engine_pulls_the_very_image(plain: Registry, engine: Engine, tmp_path: Path) -> None:
    (image,) = publications(tmp_path, 1)
    there = place(plain.name)
    push(there, "1", [image], lambda _: None)
    reference = f"{plain.name}/{there.repository(image.name)}:1"
    engine.sdk.images.pull(reference)
    record = engine.inspect(reference)
    engine.remove(reference)
    assert record is not None and record["Id"] == image.blobs[-1].described.digest


def test_with_tls_and_a_login(guarded: Registry, tmp_path: Path) -> None:
    assert guarded.ca is not None
    (tmp_path / "ca.pem").write_bytes(guarded.ca)
    images = publications(tmp_path / "store")
    there = place(guarded.name, login=Login(*LOGIN), verify=str(tmp_path / "ca.pem"))
    push(there, "1", images, lambda _: None)
    assert missing(there, "1", images) == {}


@pytest.mark.parametrize(
    ("login", "told"),
    [(Login(LOGIN[0], "wrong"), r"denies access to .* \(401, as release\)"), (None, r"\(401, nobody is logged in\)")],
)
def test_who_may_not_is_told_at_once(guarded: Registry, tmp_path: Path, login: Login | None, told: str) -> None:
    assert guarded.ca is not None
    (tmp_path / "ca.pem").write_bytes(guarded.ca)
    said: list[str] = []
    there = place(guarded.name, said, login=login, verify=str(tmp_path / "ca.pem"))
    with pytest.raises(RegistryError, match=told) as caught:
        push(there, "1", publications(tmp_path / "store"), lambda _: None)
    assert said == [] and not caught.value.transient and "docker login" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_many_that_are_asked_for_their_login_at_once_have_it(tmp_path: Path) -> None:
    with registry(login=LOGIN) as asking, between(asking.name) as proxy:
        proxy.latency = 0.05
        # Four layers on their way at once, each to be shared with the same second repository.
        store = LayerStore(tmp_path)
        layers = [noise(1000) for _ in range(4)]
        archive = saved_by_old_engine([Image(layers, "one"), Image(layers, "other")])
        saved = read_saved(io.BytesIO(archive), store, lambda _: None)
        images = [publication(f"image-{number}", image, store) for number, image in enumerate(saved)]
        push(place(proxy.name, login=Login(*LOGIN)), "1", images, lambda _: None)


def test_a_login_goes_to_no_other_host(plain: Registry, tmp_path: Path) -> None:
    """Neither where an upload is sent to, nor to a token server without TLS elsewhere."""
    with between(plain.name) as thief, between(plain.name) as proxy:
        realm = {"WWW-Authenticate": f'Bearer realm="http://{thief.name}/token",service="x"'}
        thief.faults.append(Fault("PUT", "/stolen", 1, 401, headers=realm))
        proxy.faults.append(
            Fault("POST", "/blobs/uploads/", 1, 202, headers={"Location": f"http://{thief.name}/stolen"})
        )
        with pytest.raises(RegistryError, match="401"):
            push(place(proxy.name, login=Login(*LOGIN)), "1", publications(tmp_path, 1)[:1], lambda _: None)
        assert [path for _, path in thief.seen if path.startswith("/token")] == []
        proxy.faults[:] = [Fault("HEAD", "/manifests/", 1, 401, headers=realm)]
        with pytest.raises(RegistryError, match="wants the password to be sent unencrypted"):
            push(place(proxy.name, login=Login(*LOGIN)), "1", publications(tmp_path, 1), lambda _: None)
        assert [path for _, path in thief.seen if path.startswith("/token")] == []


def test_a_certificate_nobody_vouches_for_is_told(guarded: Registry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="its certificate is not trusted here") as caught:
        push(place(guarded.name, verify=True), "1", publications(tmp_path), lambda _: None)
    assert "REGISTRY_CA" in str(caught.value) and not caught.value.transient


def test_a_registry_without_tls_is_told_apart_from_one_that_is_not_trusted(plain: Registry, tmp_path: Path) -> None:
    with pytest.raises(RegistryError, match="speaks no TLS") as caught:
        push(place(plain.name, verify=True), "1", publications(tmp_path), lambda _: None)
    assert f"INSECURE_REGISTRIES={plain.name}" in str(caught.value) and not caught.value.transient


@pytest.mark.parametrize(
    "fault",
    [
        Fault("HEAD", "/manifests/", 2, 503),
        Fault("POST", "/blobs/uploads/", 3, 500),
        Fault("PUT", "/blobs/uploads/", 3, 429, headers={"Retry-After": "1"}),
        Fault("PUT", "/manifests/", 2, 502),
        Fault("PUT", "/blobs/uploads/", 1, after=20_000),
        Fault("POST", "/blobs/uploads/", 2, after=0),
        Fault("HEAD", "/blobs/", 2, after=0),
    ],
    ids=lambda fault: f"{fault.method} {fault.part} {fault.status or 'cut'}",
)
def test_what_passes_is_waited_for(plain: Registry, tmp_path: Path, fault: Fault) -> None:
    images = publications(tmp_path)
    said: list[str] = []
    with between(plain.name) as proxy:
        there = place(proxy.name, said)
        proxy.faults.append(fault)
        push(there, "1", images, lambda _: None)
        assert missing(there, "1", images) == {}
    assert fault.times == 0 and any("trying again in" in line for line in said)


def lasting(proxy: Between, *faults: Fault) -> None:
    proxy.faults[:] = faults


def test_what_does_not_pass_publishes_nothing_and_the_next_run_sends_the_rest(plain: Registry, tmp_path: Path) -> None:
    images = publications(tmp_path)
    with between(plain.name) as proxy:
        there = place(proxy.name)
        push(there, "1", images[:1], lambda _: None)
        lasting(proxy, Fault("PUT", f"digest={images[2].blobs[1].described.digest.replace(':', '%3A')}", 1000, 500))
        with pytest.raises(RegistryUnreachableError, match="answers with 500") as caught:
            push(there, "1", images, lambda _: None)
        assert caught.value.transient
        assert len(missing(there, "1", images[1:2])) > 0, "names move when all of them can"
        lasting(proxy)
        proxy.seen.clear()
        push(there, "1", images, lambda _: None)
        assert missing(there, "1", images) == {}
        assert len([path for method, path in proxy.seen if method == "PUT" and "/blobs/" in path]) < 5


def test_a_registry_that_fails_at_everything_is_not_asked_about_everything(plain: Registry, tmp_path: Path) -> None:
    images = publications(tmp_path, 8)
    with between(plain.name) as proxy:
        lasting(proxy, *(Fault(method, "/v2/", 100_000, 500) for method in ("HEAD", "GET", "POST", "PUT")))
        with pytest.raises(RegistryUnreachableError, match="answers with 500"):
            push(place(proxy.name), "1", images, lambda _: None)
        asked = len(proxy.seen)
    # There are 32 questions; only those that were asked first were asked patiently: on a slow machine that may be many.
    assert asked < 32 * client._ATTEMPTS * 3 / 4


@pytest.mark.parametrize("status", [401, 403, 404, 400])
def test_what_is_refused_is_not_asked_again(plain: Registry, tmp_path: Path, status: int) -> None:
    with between(plain.name) as proxy:
        lasting(proxy, Fault("POST", "/blobs/uploads/", 1000, status))
        with pytest.raises(RegistryError) as caught:
            push(place(proxy.name), "1", publications(tmp_path, 1), lambda _: None)
        assert not caught.value.transient
        assert ("does not know" if status == 404 else f"({status}") in str(caught.value)
        # One for each of those that were on their way together.
        assert len([path for method, path in proxy.seen if method == "POST"]) <= 4


def test_a_registry_that_is_full_is_told_and_completes_when_it_has_room(tmp_path: Path) -> None:
    images = publications(tmp_path, size=3_000_000)
    with registry(disk="2m") as small:
        said: list[str] = []
        there = place(small.name, said)
        with pytest.raises(RegistryUnreachableError, match="answers with 50"):
            push(there, "1", images, lambda _: None)
        assert len(missing(there, "1", images)) == 3
        small.give_room("50m")
        push(there, "1", images, lambda _: None)
        assert missing(there, "1", images) == {}


def test_an_entry_that_a_registry_wrote_half_of_is_sent_again(plain: Registry, tmp_path: Path) -> None:
    """As its disk became full: it fails at every question about it."""
    (image,) = publications(tmp_path, 1)
    there = place(plain.name)
    push(there, "1", [image], lambda _: None)
    store = f"/var/lib/registry/docker/registry/v2/repositories/{there.repository(image.name)}"
    links = [f"_layers/sha256/{image.blobs[0].described.digest[7:]}", f"_manifests/revisions/sha256/{image.digest[7:]}"]
    for link in (*links, "_manifests/tags/1/current"):
        assert plain.container.exec_run(["truncate", "--size=0", f"{store}/{link}/link"]).exit_code == 0
    assert missing(there, "1", [image])
    push(there, "1", [image], lambda _: None)
    assert missing(there, "1", [image]) == {}


def test_a_layer_that_rotted_is_told_and_read_anew_by_the_next_run(plain: Registry, tmp_path: Path) -> None:
    (image,) = publications(tmp_path, 1)
    blob = image.blobs[0]
    assert isinstance(blob.content, Layer)
    path = blob.store.path(blob.content)
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(ShipError, match="is damaged"):
        push(place(plain.name), "1", [image], lambda _: None)
    assert blob.store.find(blob.content.diff_id) is None


@pytest.mark.parametrize("location", ["http://[::1", "http://127.0.0.1:port/x", "file:///etc/passwd", ""])
def test_a_place_for_an_upload_that_is_none_is_told(plain: Registry, tmp_path: Path, location: str) -> None:
    with between(plain.name) as proxy:
        lasting(proxy, Fault("POST", "/blobs/uploads/", 1000, 202, headers={"Location": location}))
        with pytest.raises(RegistryError, match="does not say where an upload goes") as caught:
            push(place(proxy.name), "1", publications(tmp_path, 1), lambda _: None)
        assert not caught.value.transient


def test_redirects_without_end_are_not_asked_again(plain: Registry, tmp_path: Path) -> None:
    with between(plain.name) as proxy:
        lasting(proxy, Fault("HEAD", "/manifests/", 100_000, 307, headers={"Location": "/v2/x/manifests/1"}))
        with pytest.raises(RegistryError, match="redirects") as caught:
            push(place(proxy.name), "1", publications(tmp_path, 1), lambda _: None)
        assert not caught.value.transient


def test_how_long_a_registry_asks_to_wait() -> None:
    soon = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=30), usegmt=True)
    assert client._seconds("5") == 5.0
    assert client._seconds(soon) == pytest.approx(30, abs=2)
    assert client._seconds("Thu, 01 Jan 2026 00:00:00 GMT") == 0.0
    assert (client._seconds(""), client._seconds("soon"), client._seconds("-1")) == (None, None, None)


@pytest.mark.parametrize("after", ["²", "-1", "Thu, 01 Jan 2026 00:00:00 GMT", "9" * 400])
def test_a_wait_that_is_no_number_of_seconds_is_not_waited(
    plain: Registry, tmp_path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LONGEST_DELAY", 0.01)
    with between(plain.name) as proxy:
        lasting(proxy, Fault("POST", "/blobs/uploads/", 2, 503, headers={"Retry-After": quote(after, safe="², :-")}))
        push(place(proxy.name), "1", publications(tmp_path, 1), lambda _: None)


def test_an_endless_answer_is_not_read_to_its_end(plain: Registry, tmp_path: Path) -> None:
    with between(plain.name) as proxy:
        lasting(proxy, Fault("POST", "/blobs/uploads/", 1000, 404, body=b"x" * (9 << 20)))
        with pytest.raises(RegistryError, match="answers with more than 8 MB"):
            push(place(proxy.name), "1", publications(tmp_path, 1), lambda _: None)


def test_a_token_server_that_fails_is_asked_as_often_as_a_registry(plain: Registry, tmp_path: Path) -> None:
    with between(plain.name) as proxy:
        realm = {"WWW-Authenticate": f'Bearer realm="http://{proxy.name}/token",service="x"'}
        lasting(proxy, Fault("HEAD", "/manifests/", 1000, 401, headers=realm), Fault("GET", "/token", 1000, 503))
        with pytest.raises(RegistryUnreachableError, match="answers with 503"):
            push(place(proxy.name), "1", publications(tmp_path, 1), lambda _: None)
        assert len([path for _, path in proxy.seen if path.startswith("/token")]) == client._ATTEMPTS


def test_no_proxy_is_between_us_and_our_own_machine(
    plain: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of Docker: whatever the environment says of proxies."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    push(place(plain.name), "1", publications(tmp_path, 1), lambda _: None)


def test_an_interrupted_push_ends_soon(plain: Registry, tmp_path: Path) -> None:
    """While the registry is being waited for."""
    images = publications(tmp_path, 1, size=5_000_000)
    with between(plain.name) as proxy:
        lasting(proxy, Fault("POST", "/blobs/uploads/", 1000, 503, headers={"Retry-After": "60"}))
        alarm = threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGINT))
        # What is started in the background has it ignored.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        alarm.start()
        started = time.monotonic()
        try:
            with pytest.raises(KeyboardInterrupt):
                push(place(proxy.name), "1", images, lambda _: None)
        finally:
            signal.signal(signal.SIGINT, before)
        assert time.monotonic() - started < 20
        alarm.join()


def test_what_is_not_wanted_any_more_is_not_sent(plain: Registry, tmp_path: Path) -> None:
    there = place(plain.name)
    there.registry.transport.give_up()
    with pytest.raises(GivenUpError):
        push(there, "1", publications(tmp_path, 1), lambda _: None)


def test_a_tag_that_is_too_long_with_its_platform_is_told(plain: Registry, tmp_path: Path) -> None:
    with pytest.raises(ShipError, match="longer than the 128 letters"):
        push(place(plain.name), f"{'x' * 123}-amd64", publications(tmp_path, 1), lambda _: None)


def test_nobody_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachableError, match=r"127\.0\.0\.1:1 can't be reached"):
        push(place("127.0.0.1:1"), "1", publications(tmp_path, 1), lambda _: None)


def test_a_gate_names_what_is_not_as_declared(plain: Registry, tmp_path: Path) -> None:
    images = publications(tmp_path)
    there = place(plain.name)
    push(there, "1", images[:2], lambda _: None)
    other = publications(tmp_path / "other", 1)
    push(there, "1", other, lambda _: None)
    told = missing(there, "1", images)
    assert told.keys() == {"image-0", "image-2"}
    assert f"image-0:1 is {other[0].digest}, not {images[0].digest}" in told["image-0"][0]
    assert "image-2:1 is not there" in told["image-2"][0]


def test_a_tag_that_could_be_a_platforms_is_refused() -> None:
    with pytest.raises(ShipError, match="TAG=1-arm64 ends as the tags of arm64 do"):
        platform_tag("1-arm64", "amd64")
