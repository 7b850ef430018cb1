"""What is asked over networks: registries of packages and of images, here on loopback."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from fimg_pipeline.doctor.findings import Finding, Verdict
from fimg_pipeline.doctor.services import services
from fimg_pipeline_tests.plan.samples import make_settings


class Place(BaseHTTPRequestHandler):
    """Has everything but what is below /none, and is a registry that wants a login for /v2/private."""

    def do_GET(self) -> None:
        private = self.path.startswith("/v2/private")
        self.send_response(401 if private else 404 if self.path.startswith(("/none", "/v2")) else 200)
        if private:
            self.send_header("WWW-Authenticate", 'Basic realm="here"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def place() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Place)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def found(place: str, **given: str) -> dict[str, Finding]:
    mirrors = {
        "APT_MIRROR": f"http://{place}/debian",
        "PIP_INDEX_URL": f"http://{place}/simple/",
        "NPM_CONFIG_REGISTRY": f"http://{place}",
        "MAVEN_MIRROR": f"http://{place}/maven",
        "PREFIX": f"{place}/federatedai",
    }
    return {each.part: each for each in services(make_settings((), **{**mirrors, **given}))}


def test_all_that_answers_is_well(place: str) -> None:
    all_of_it = found(place)
    assert {each.verdict for each in all_of_it.values()} == {Verdict.OK} and len(all_of_it) == 6
    assert all_of_it["PyPI"].told == f"http://{place}/simple/pip/"


def test_what_does_not_is_a_warning_that_names_the_setting(place: str) -> None:
    there = found(place, MAVEN_MIRROR=f"http://user:secret@{place}/none", APT_MIRROR="http://127.0.0.1:1/debian")
    maven, debian = there["Maven"], there["Debian"]
    assert maven.verdict is debian.verdict is Verdict.WARNING
    assert maven.told.endswith("it answers with 404") and "MAVEN_MIRROR" in maven.hint and "secret" not in maven.told
    assert debian.told.endswith("it can't be reached") and "APT_MIRROR" in debian.hint


def test_a_mirror_of_debian_has_security_updates_beside_it(place: str) -> None:
    """Else builds fail: they are had from where they are derived to be."""
    security = found(place, APT_SECURITY_MIRROR=f"http://{place}/none")["Debian's security updates"]
    assert security.verdict is Verdict.WARNING and "APT_SECURITY_MIRROR" in security.hint
    assert found(place)["Debian's security updates"].told == (
        f"http://{place}/debian-security/dists/bookworm-security/InRelease"
    )


def test_a_registry_without_a_login_is_wrong_for_who_pushes_alone(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", "/nowhere")
    private = {"PREFIX": f"{place}/private"}
    note = found(place, **private)["registry, for who pushes"]
    assert note.verdict is Verdict.NOTE and "denies access" in note.told and f"docker login {place}" in note.hint
    assert found(place, AFTER_BUILD="push", **private)["registry"].verdict is Verdict.WRONG
    # Whoever has said who pushes means to.
    login = {"REGISTRY_USER": "u", "REGISTRY_PASSWORD": "bad"}
    assert found(place, **login, **private)["registry, for who pushes"].verdict is Verdict.WARNING


def test_a_proxy_that_leads_nowhere_is_what_is_to_be_mended(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    pypi = found(place)["PyPI"]
    assert pypi.told.endswith("the proxy does not lead there") and pypi.hint.startswith("mend HTTPS_PROXY")


def test_addresses_of_people_are_checked_and_not_shown(place: str) -> None:
    ok = found(place, NOTIFY_URLS="json://user:s3cret@127.0.0.1/hook")["notifications"]
    assert ok.verdict is Verdict.OK
    wrong = found(place, NOTIFY_URLS="json://user:s3cret@127.0.0.1/hook nosuch://s3cret")["notifications"]
    assert wrong.verdict is Verdict.WRONG and wrong.told.startswith("number 2 of NOTIFY_URLS is no address")
    assert "s3cret" not in repr((ok, wrong))
