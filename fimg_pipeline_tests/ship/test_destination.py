"""Which registry PREFIX names, how it is spoken to, and who logs in."""

from __future__ import annotations

import base64
import json
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fimg_pipeline.errors import FimgError
from fimg_pipeline.settings import Settings
from fimg_pipeline.ship import destination as destinations
from fimg_pipeline.ship.destination import destination
from fimg_pipeline.ship.registry import Login
from fimg_pipeline_tests.plan.samples import make_settings


@pytest.fixture(autouse=True)
def docker_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, instead of the user's own."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    return tmp_path / "config.json"


def settings(prefix: str, **changes: object) -> Settings:
    return replace(make_settings(), prefix=prefix, **changes)  # type: ignore[arg-type]


def url(prefix: str, **changes: object) -> str:
    return destination(settings(prefix, **changes), print).registry.url


@pytest.fixture
def deaf() -> Iterator[str]:
    """Something on loopback that speaks no TLS."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.close()

        threading.Thread(target=answer, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("prefix", "host", "where", "repository", "page"),
    [
        (
            "federatedai",
            "docker.io",
            "https://registry-1.docker.io",
            "federatedai/fateflow",
            "https://hub.docker.com/r/federatedai/fateflow/tags",
        ),
        (
            "harbor.example/fate/x",
            "harbor.example",
            "https://harbor.example",
            "fate/x/fateflow",
            "https://harbor.example/v2/fate/x/fateflow/tags/list",
        ),
        (
            "10.0.0.5:5000/federatedai",
            "10.0.0.5:5000",
            "https://10.0.0.5:5000",
            "federatedai/fateflow",
            "https://10.0.0.5:5000/v2/federatedai/fateflow/tags/list",
        ),
    ],
)
def test_the_prefix_says_where(prefix: str, host: str, where: str, repository: str, page: str) -> None:
    found = destination(settings(prefix), print)
    assert (found.registry.host, found.registry.url) == (host, where)
    assert (found.repository("fateflow"), found.page("fateflow")) == (repository, page)


def test_only_loopback_and_what_is_declared_goes_without_tls(deaf: str) -> None:
    assert url(f"{deaf}/x") == f"http://{deaf}"
    assert url("10.0.0.5:5000/x", insecure_registries=("10.0.0.5:5000",)) == "http://10.0.0.5:5000"
    assert url("10.0.0.5:5001/x", insecure_registries=("10.0.0.5:5000",)) == "https://10.0.0.5:5001"


def login(prefix: str = "harbor.example/x", **changes: object) -> Login | None:
    return destination(settings(prefix, **changes), print).registry._login


def auths(**hosts: str) -> str:
    return json.dumps(
        {"auths": {host: {"auth": base64.b64encode(text.encode()).decode()} for host, text in hosts.items()}}
    )


def test_the_login_is_the_settings_or_dockers(docker_config: Path) -> None:
    assert login() is None
    docker_config.write_text(auths(**{"harbor.example": "me:pass:word", "https://index.docker.io/v1/": "hub:secret"}))
    assert login() == Login("me", "pass:word")
    assert login("federatedai") == Login("hub", "secret")
    assert login("other.example/x") is None
    assert login(registry_user="robot", registry_password="token") == Login("robot", "token")


def test_a_credential_helper_is_asked(docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text("""#!/bin/sh\ncat > /dev/null; echo '{"Username": "me", "Secret": "from the keyring"}'\n""")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    docker_config.write_text(json.dumps({"credHelpers": {"harbor.example": "test"}}))
    assert login() == Login("me", "from the keyring")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[1, 2]", "is no JSON object"),
        ("{", "is no JSON"),
        ('{"auths": {"reg.example": {"auth": "s3cret"}}}', "has logins"),
        ('{"auths": ["s3cret"]}', "has logins"),
        ('{"auths": {"reg.example": "s3cret"}}', "has logins"),
    ],
)
def test_a_broken_configuration_of_docker_is_told(docker_config: Path, content: str, told: str) -> None:
    docker_config.write_text(content)
    with pytest.raises(FimgError, match=told) as caught:
        destination(settings("reg.example/x"), print)
    assert str(docker_config) in str(caught.value) and "s3cret" not in str(caught.value)


def test_what_a_failing_credential_helper_says_is_kept_secret(
    docker_config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "docker-credential-mine"
    helper.write_text("#!/bin/sh\necho s3cret; echo s3cret >&2; exit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    docker_config.write_text('{"credsStore": "mine"}')
    with pytest.raises(FimgError, match=r"docker-credential-mine, which has the login for reg\.example") as caught:
        destination(settings("reg.example/x"), print)
    assert "s3cret" not in str(caught.value)


def test_an_identity_token_takes_the_place_of_a_password(docker_config: Path) -> None:
    docker_config.write_text(json.dumps({"auths": {"harbor.example": {"auth": "bWU6", "identitytoken": "long-lived"}}}))
    found = login()
    assert found is not None and found.identity_token == "long-lived"


def test_a_password_is_shown_nowhere() -> None:
    shown = repr(settings("harbor.example/x", registry_user="robot", registry_password="hush-hush"))
    assert "robot" in shown and "hush-hush" not in shown
    assert "hush-hush" not in repr(Login("robot", "hush-hush"))


def test_what_vouches_for_a_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def trust(**changes: object) -> str | bool:
        return destination(settings("harbor.example:443/x", **changes), print).registry.transport._verify

    monkeypatch.setattr(destinations, "_CERTIFICATES", tmp_path)
    assert trust(ca_bundle=None) is True
    assert trust(ca_bundle=Path("/builds.pem")) == "/builds.pem"
    (tmp_path / "harbor.example:443").mkdir()
    (tmp_path / "harbor.example:443" / "ca.crt").touch()
    assert trust(ca_bundle=Path("/builds.pem")) == str(tmp_path / "harbor.example:443" / "ca.crt")
    assert trust(registry_ca=Path("/own.pem")) == "/own.pem"
