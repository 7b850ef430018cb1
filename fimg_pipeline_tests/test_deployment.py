"""The team's deployment, as its operators have it: up, a run in a container of its own, killed, kept, brought back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.sample import SampleSource
from fimg_pipeline_tests.rig.deployment import PROJECT, Deployment, deployment
from fimg_pipeline_tests.rig.web import STATUS, ask, ended, free_port, launch, until

pytestmark = pytest.mark.deployment

NGINX = (["source"], ["package", "proxy"], ["nginx"])
TERMINATE = "mutation($id: String!) { terminateRun(runId: $id) { __typename } }"


@pytest.fixture(scope="module")
def team(pristine: SampleSource, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(pristine, tmp_path_factory.mktemp("team"), TAG="team", TIME_ZONE="Asia/Shanghai") as found:
        yield found


def inspected(containers: list[str]) -> list[dict[str, Any]]:
    done = subprocess.run([Engine().cli, "inspect", *containers], capture_output=True, check=True)
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def test_a_click_is_a_run_in_a_container_of_its_own_that_is_gone_afterwards(team: Deployment) -> None:
    run = launch(team.address, "team", *NGINX)
    (container,) = until(team.runs, 60)
    (record,) = inspected([container])
    assert record["Config"]["Labels"]["dagster/run_id"] == run
    assert ended(team.address, run, 300) == "SUCCESS"
    until(lambda: not team.runs(), 30)
    # The command sees the same instance, and the settings of .env.
    status = json.loads(team("run", "--rm", "-T", "fimg", "status", "--json"))
    (partition,) = [each for each in status if each["tag"] == "team"]
    assert {image["name"]: image["state"] for image in partition["images"]}["nginx"] == "built"


def test_nobody_but_this_machine_is_let_in_and_no_secret_is_shown(team: Deployment) -> None:
    records = inspected(team.containers())
    assert len(records) == 5
    published = [port for each in records for port in (each["HostConfig"]["PortBindings"] or {}).values()]
    assert [binding["HostIp"] for ports in published for binding in ports] == ["127.0.0.1"]
    logs = team("logs")
    assert team.password not in json.dumps(records) and team.password.encode() not in logs
    running = [each for each in records if each["State"]["Running"]]
    assert {each["State"]["Health"]["Status"] for each in running} == {"healthy"} and len(running) == 4
    for each in running:
        top = [Engine().cli, "top", each["Id"], "-eo", "pid,user,args"]
        lines = subprocess.run(top, capture_output=True, text=True, check=True).stdout.splitlines()[1:]
        # The init of the container is root's, and what asks for its health; what it does is not.
        others = [line for line in lines if not re.search(r"docker-init|health|urlopen|pg_isready|liveness", line)]
        assert others and not [line for line in others if line.split()[1] == "root"], lines


def test_runs_that_are_ended_or_killed_say_so_and_leave_nothing(team: Deployment) -> None:
    run = launch(team.address, "team", *NGINX)
    until(lambda: ask(team.address, STATUS, id=run)["runOrError"]["status"] == "STARTED", 60)
    ask(team.address, TERMINATE, id=run)
    assert ended(team.address, run, 120) == "CANCELED"
    run = launch(team.address, "team", *NGINX)
    # One that has not begun is given three minutes to.
    until(lambda: ask(team.address, STATUS, id=run)["runOrError"]["status"] == "STARTED", 60)
    (container,) = team.runs()
    subprocess.run([Engine().cli, "kill", container], check=True, capture_output=True)
    assert ended(team.address, run, 120) == "FAILURE"
    until(lambda: not team.runs(), 30)
    run = launch(team.address, "team", *NGINX)
    assert ended(team.address, run, 300) == "SUCCESS"


def test_the_proxy_of_the_docs_asks_who_is_there(team: Deployment, tmp_path: Path) -> None:
    (server,) = re.findall(r"^```nginx\n(.*?)^```", (PROJECT / "docs/deployment.md").read_text(), re.M | re.S)
    certificate = trustme.CA().issue_cert("fimg.example")
    (tmp_path / "fimg.example.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    (tmp_path / "fimg.example.key").write_bytes(certificate.private_key_pem.bytes())
    (tmp_path / "fimg.users").write_text("somebody:{PLAIN}a-pass-word\n")
    for named, here in {
        "/etc/ssl/": "/etc/proxy/",
        "/etc/nginx/fimg.users": "/etc/proxy/fimg.users",
        "127.0.0.1:3000": f"127.0.0.1:{team.port}",
        "listen 443": f"listen 127.0.0.1:{(port := free_port())}",
    }.items():
        assert named in server
        server = server.replace(named, here)
    (tmp_path / "nginx.conf").write_text(f"events {{}}\nhttp {{\nerror_log stderr;\naccess_log off;\n{server}}}\n")
    nginx = Engine().sdk.containers.run(
        f"{team.name}.invalid/federatedai/nginx:team",
        entrypoint=["nginx", "-g", "daemon off; user root;", "-c", "/etc/proxy/nginx.conf"],
        network_mode="host",
        volumes=[f"{tmp_path}:/etc/proxy:ro"],
        detach=True,
    )
    try:
        place = f"https://127.0.0.1:{port}"
        answers = partial(requests.get, verify=False, timeout=30)

        def listens() -> bool:
            with suppress(requests.ConnectionError):
                return bool(answers(place).status_code)
            return False

        until(listens, 30)
        assert answers(place).status_code == 401
        login = ("somebody", "a-pass-word")
        assert "Dagster" in answers(place, auth=login).text
        query = {"query": "{ version }"}
        for origin, status in ({}, 200), ({"Origin": "https://fimg.example"}, 200), ({"Origin": "https://evil"}, 403):
            asked = requests.post(f"{place}/graphql", auth=login, json=query, headers=origin, verify=False, timeout=30)
            assert asked.status_code == status, (origin, asked.text)
        # What an image on any page could be.
        assert answers(f"{place}/graphql", auth=login, params=query).status_code == 403
        # Live pages: the web server takes the connection for a WebSocket.
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        upgrade |= {"Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Protocol": "graphql-ws"}
        taken = answers(f"{place}/graphql", auth=login, headers=upgrade, stream=True)
        assert taken.status_code == 101, nginx.logs().decode()
        taken.close()
    finally:
        nginx.remove(force=True)


def test_the_registry_that_comes_with_it_has_what_is_pushed(team: Deployment) -> None:
    """By an address of this host, as containers and engines call it."""
    here = Engine().sdk.networks.get("bridge").attrs["IPAM"]["Config"][0]["Gateway"]
    place = f"{here}:{(port := free_port())}"
    team.configure(
        REGISTRY_ADDRESS=here, REGISTRY_PORT=str(port), PREFIX=f"{place}/federatedai", INSECURE_REGISTRIES=place
    )
    team("--profile", "registry", "up", "--detach", "--wait", "--build", "--force-recreate")
    command = ("run", "--rm", "-T", "fimg")
    examined = {each["part"]: each for each in json.loads(team(*command, "doctor", "--json"))}
    assert place in examined["registry, for who pushes"]["told"] and "GB free in /" in examined["engine's disk"]["told"]
    team(*command, "build")
    team(*command, "push")
    images = requests.get(f"http://{place}/v2/_catalog", timeout=30).json()["repositories"]
    assert "federatedai/nginx" in images
    for image in images:
        answer = requests.get(f"http://{place}/v2/{image}/tags/list", timeout=30).json()
        assert set(answer["tags"]) == {"team", f"team-{Engine().platform}"}
    team("--profile", "registry", "rm", "--stop", "--force", "registry")


def test_steps_may_be_containers_of_their_own(team: Deployment) -> None:
    team.configure(STEPS="containers")
    team("up", "--detach", "--wait", "--force-recreate")
    run = launch(team.address, "team", *NGINX)
    seen: set[str] = set()

    def over() -> bool:
        seen.update(team.steps())
        return ask(team.address, STATUS, id=run)["runOrError"]["status"] in ("SUCCESS", "FAILURE", "CANCELED")

    until(over, 300)
    assert ended(team.address, run, 10) == "SUCCESS" and len(seen) == len(NGINX)
    until(lambda: not team.steps() and not team.runs(), 30)


def test_steps_in_containers_end_with_their_run(team: Deployment) -> None:
    run = launch(team.address, "team", *NGINX)
    until(team.steps, 120)
    (container,) = team.runs()
    subprocess.run([Engine().cli, "kill", container], check=True, capture_output=True)
    until(lambda: not team.steps(), 30)
    assert ended(team.address, run, 120) == "FAILURE"
    run = launch(team.address, "team", *NGINX)
    until(team.steps, 120)
    ask(team.address, TERMINATE, id=run)
    assert ended(team.address, run, 120) == "CANCELED"
    until(lambda: not team.steps() and not team.runs(), 30)


def test_what_was_backed_up_is_brought_back_and_brought_to_another_version(team: Deployment) -> None:
    backup, restore, upgrade = team.documented("Backup and upgrade")
    team("run", "--rm", "-T", "fimg", "tag", "add", "mine")
    printed = team.printed()
    team.shell(backup)
    # Another host has none of its images either.
    team("--profile", "command", "down", "--volumes", "--rmi", "all", "--timeout", "10")
    password = team.password
    shutil.rmtree(team.folder / "secrets")
    team.shell(restore)
    assert team.password == password
    for script in ("", upgrade):
        team.shell(script)
        tags = json.loads(team("run", "--rm", "-T", "fimg", "tag", "list", "--json"))
        assert [tag["tag"] for tag in tags] == ["team", "mine"]
        status = json.loads(team("run", "--rm", "-T", "fimg", "status", "--json", "--tag", "team"))
        assert {image["name"]: image["state"] for image in status[0]["images"]}["nginx"] == "built"
    assert printed and printed <= team.printed()


def test_an_engine_elsewhere_is_spoken_to_with_certificates_of_files(team: Deployment) -> None:
    """By the user of the containers, whom the key does not belong to on the host; runs are started here as before."""
    tls = team.folder / "files/tls"
    tls.mkdir()
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (tls / name).write_text(f"{name} of {team.name}\n")
        (tls / name).chmod(0o600)
    before = (team.folder / ".env").read_text()
    try:
        team.configure(DOCKER_TLS_VERIFY="1")
        launches = 'python -c "import docker; docker.from_env().ping()"'
        script = f'id -un; echo "$DOCKER_TLS_VERIFY"; cat ~/.docker/key.pem; {launches}'
        told = team("run", "--rm", "-T", "fimg", "exec", "sh", "-c", script).decode().splitlines()
        assert told == ["fimg", "1", f"key.pem of {team.name}"]
    finally:
        (team.folder / ".env").write_text(before)
        shutil.rmtree(tls)


def test_what_is_not_there_is_told_and_no_folder_is_made_of_it(team: Deployment, tmp_path: Path) -> None:
    nowhere = tmp_path / "FATE"
    with pytest.raises(AssertionError, match="FATE"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("FATE_DIR", str(nowhere))
        team("run", "--rm", "-T", "fimg", "status")
    assert not nowhere.exists()
