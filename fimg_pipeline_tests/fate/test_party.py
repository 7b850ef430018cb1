"""KubeFATE's deployment of two parties on our images: FATE's own tests pass between them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fimg_pipeline_tests.fate.deployment import EGGROLL, SPARK_LOCAL, Party, deployment

pytestmark = pytest.mark.party

GUEST, HOST = 9999, 10000


def required(name: str, how: str) -> Path:
    value = os.environ.get(name)
    assert value, f"{name} is not set: {how}"
    return Path(value)


BOTH = pytest.mark.parametrize(
    "parties", [EGGROLL, SPARK_LOCAL], indirect=True, scope="module", ids=lambda engines: engines.computing
)
ON_EGGROLL = pytest.mark.parametrize("parties", [EGGROLL], indirect=True, scope="module", ids=["Eggroll"])


@pytest.fixture(scope="module")
def parties(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[int, Party]]:
    kubefate = required(
        "KUBEFATE_DIR", "git clone --branch develop-1.11.2 https://github.com/FederatedAI/KubeFATE.git, and set it"
    )
    logs = Path(os.environ.get("PARTY_LOGS", "party-logs")).absolute()
    folder = tmp_path_factory.mktemp("parties")
    with deployment(kubefate, folder, request.param, os.environ.get("TAG", "1.11.2-release"), logs) as found:
        yield {party.number: party for party in found}


def flow_test(party: Party, what: str, timeout: float = 1800) -> str:
    return party.execute("client", f"flow test {what}", timeout=timeout)


@BOTH
@pytest.mark.parametrize(("guest", "host"), [(GUEST, HOST), (HOST, GUEST)])
def test_toy(parties: dict[int, Party], guest: int, host: int) -> None:
    output = flow_test(parties[guest], f"toy --guest-party-id {guest} --host-party-id {host}")
    result = re.search(r"success to calculate secure_sum, it is ([0-9.]+)", output)
    assert result is not None and float(result[1]) == pytest.approx(2000), output


@ON_EGGROLL
def test_min(parties: dict[int, Party]) -> None:
    """Logistic regression and SecureBoost, training and prediction."""
    for party in parties.values():
        upload(party)
    output = flow_test(
        parties[GUEST],
        f"min --guest-party-id {GUEST} --host-party-id {HOST} --arbiter-party-id {HOST}",
        timeout=3600,
    )
    assert output.count("Job is success") == 4, output


def upload(party: Party) -> None:
    """The data of the minimal test, as FATE's own test suite names it."""
    role = "guest" if party.number == GUEST else "host"
    conf = {
        "file": f"/data/projects/fate/examples/data/breast_hetero_{role}.csv",
        "head": 1,
        "partition": 4,
        "table_name": f"breast_hetero_{role}",
        "namespace": "experiment",
    }
    text = json.dumps(conf)
    party.execute("client", f"echo '{text}' > /tmp/upload.json && flow data upload -c /tmp/upload.json --drop")


@BOTH
def test_fateboard_and_notebooks_answer(parties: dict[int, Party]) -> None:
    for party in parties.values():
        assert b"<html" in party.wait("FATE Board", 8080, "/").lower()
        assert "version" in json.loads(party.wait("Jupyter", 20000, "/api"))
