"""The images of a real FATE release do what they are for; `make fate-1.11.2` runs this after its build."""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError

import pytest

from fimg_pipeline.catalog.images import IMAGES
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.settings import Settings, load
from fimg_pipeline_tests.promises import broken, inside, promise
from fimg_pipeline_tests.rig.containers import Network, network
from fimg_pipeline_tests.services import (
    DATABASE,
    DATABASE_PASSWORD,
    ask_proxy,
    columns,
    compute_on_eggroll,
    compute_pi_on_spark,
    keep_a_table_in_hdfs,
    start_database,
    upgrade_database,
)

pytestmark = pytest.mark.release

#: The oldest FATE whose FATE Flow is a repository of its own with models that today's environment can load.
UPGRADED_FROM = "1.7.2"


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load()


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine()


@pytest.fixture
def services(engine: Engine) -> Iterator[Network]:
    with network(engine) as found:
        yield found


def reference(name: str) -> str:
    settings = load()
    return f"{settings.prefix}/{name}:{settings.base_tag if IMAGES[name].is_base else settings.tag}"


#: Images that put something into the Python environment.
ENVIRONMENTS = [name for name, image in IMAGES.items() if image.recipe.requirements or image.recipe.replaces]


@pytest.mark.parametrize("name", [*ENVIRONMENTS, "client", "fate-test", "fate-test-ipcl"])
def test_python_environments_are_consistent(engine: Engine, name: str) -> None:
    status, output = engine.run(reference(name), ["python", "-m", "pip", "check"], timeout=120)
    assert status == 0, output


@pytest.mark.parametrize("name", IMAGES)
def test_images_keep_their_promises(engine: Engine, name: str) -> None:
    record = engine.inspect(reference(name))
    assert record is not None, "not built"
    assert broken(promise(name), record["Config"]) == []
    assert engine.run(reference(name), inside(promise(name)), timeout=120) == (0, "")


def test_a_spark_job_runs_on_master_and_workers(services: Network) -> None:
    assert compute_pi_on_spark(services, reference) == pytest.approx(3.14, abs=0.1)


@pytest.mark.parametrize("name", ["fateflow-spark", "spark-worker"])
def test_a_table_of_fate_is_kept_in_hdfs(services: Network, name: str) -> None:
    assert "read 1000 ('k999', 'v999')" in keep_a_table_in_hdfs(services, reference, name)


def test_the_proxys_lua_answers(services: Network) -> None:
    assert ask_proxy(services, reference)


def test_the_proxy_says_when_nobody_answers_behind_it(services: Network) -> None:
    """By the page that FATE's configuration names: without it, it would say that it knows no such place."""
    proxy = services.start("nginx", reference("nginx"))
    proxy.wait_for(9302, "/test")
    with pytest.raises(HTTPError) as caught:
        proxy.answer(9300, "/v1/version/get")
    assert caught.value.code in (500, 502) and b"did not answer" in caught.value.read()


def test_fateflow_says_its_version(services: Network, settings: Settings) -> None:
    flow = services.start("fateflow", reference("fateflow"))
    # It listens where its configuration says: to itself, unless somebody mounts another.
    ask = "curl --silent --fail --request POST http://127.0.0.1:9380/v1/version/get"
    answers: list[str] = []

    def answered() -> bool:
        answers.append(flow.execute(f"{ask} || true"))
        return bool(answers[-1])

    flow.wait_until("it answers", answered)
    version = settings.tag.removesuffix("-release")
    assert f'"FATE":"{version}"' in answers[-1].replace(" ", "")


def test_fateboard_serves_its_page(services: Network) -> None:
    board = services.start("fateboard", reference("fateboard"))
    script = re.search(rb"static/js/app\.[0-9a-f]+\.js", board.wait_for(8080, "/"))
    assert script is not None and len(board.answer(8080, f"/{script[0].decode()}")) > 10_000


def test_a_job_runs_on_eggrolls_cluster_and_node_manager(services: Network) -> None:
    assert "the sum is 999000" in compute_on_eggroll(services, reference)


@pytest.mark.parametrize("name", [name for name in IMAGES if name.endswith("-all-gpu")])
def test_large_language_models_have_what_they_need(engine: Engine, name: str) -> None:
    code = "import accelerate, deepspeed, peft, transformers; import fate_llm.model_zoo.pellm.parameter_efficient_llm"
    environment = 'PYTHONPATH="/data/projects/fate/fate/python:$PYTHONPATH"'
    status, output = engine.run(reference(name), ["bash", "-c", f"{environment} python -c '{code}'"], timeout=300)
    assert status == 0, output


#: A vector, by FATE's own class, with what its operators import.
FATES_ENCRYPTION = """
import numpy
from federatedml.secureprotol.encrypt import IpclPaillierEncrypt
from federatedml.util.ipcl_operator import IpclPaillierEncryptedNumber
pair = IpclPaillierEncrypt()
pair.generate_key(1024)
print(list(pair.recursive_decrypt(pair.recursive_encrypt(numpy.array([1.0, 2.0])))))
"""


@pytest.mark.parametrize("name", [name for name in IMAGES if name.endswith("-ipcl")])
def test_intels_paillier_encrypts(engine: Engine, name: str) -> None:
    assert engine.run(reference(name), IMAGES["base-image-ipcl"].recipe.smoke, timeout=120) == (0, "")
    if name != "base-image-ipcl":
        assert engine.run(reference(name), ["python", "-c", FATES_ENCRYPTION], timeout=120) == (0, "[1.0, 2.0]\n")


def test_notebooks_are_served(services: Network) -> None:
    assert b'"version"' in services.start("client", reference("client")).wait_for(20000, "/api")


@pytest.mark.parametrize("name", ["fateflow-nn", "eggroll-nn-gpu"])
def test_the_graph_packages_compute(engine: Engine, name: str) -> None:
    modules = "torch, torch_cluster, torch_geometric, torch_scatter, torch_sparse, torch_spline_conv"
    code = f"import {modules}; print(torch_scatter.scatter(torch.ones(4), torch.tensor([0, 0, 1, 1])).tolist())"
    assert engine.run(reference(name), ["python", "-W", "ignore", "-c", code], timeout=300) == (0, "[2.0, 2.0]\n")


def old_code(checkout: Path, folder: Path) -> None:
    """Writes FATE and FATE Flow as they were at UPGRADED_FROM below ``folder``."""
    if not (checkout / "fateflow/.git").exists():
        raise RuntimeError(f"FATE_DIR={checkout} lacks its submodules: git submodule update --init")
    ref = f"v{UPGRADED_FROM}"
    pinned = subprocess.run(
        ["git", "-C", str(checkout), "rev-parse", f"{ref}:fateflow"], check=True, capture_output=True, text=True
    ).stdout.strip()
    wanted = [
        (checkout, ref, folder, ["python/fate_arch", "conf", "fate.env"]),
        (checkout / "fateflow", pinned, folder / "fateflow", ["python", "conf"]),
    ]
    for repository, commit, target, paths in wanted:
        command = ["git", "-C", str(repository), "archive", commit, *paths]
        archive = subprocess.run(command, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(target, filter="data")


def make_tables(services: Network, database: str, environment: dict[str, str], volumes: list[str]) -> None:
    """Lets a FATE Flow make its tables in ``database``."""
    flow = services.start(
        f"fateflow-{database}", reference("fateflow"), ["sleep", "infinity"], environment=environment, volumes=volumes
    )
    configured = {"name": database, "user": "root", "passwd": DATABASE_PASSWORD, "host": "mysql"}
    engines = {"computing": "eggroll", "federation": "eggroll", "storage": "eggroll"}
    code = f"""
import yaml
path = "{environment["FATE_PROJECT_BASE"]}/conf/service_conf.yaml"
conf = yaml.safe_load(open(path))
conf["database"].update({configured})
conf["default_engines"].update({engines})
yaml.safe_dump(conf, open(path, "w"))
from fate_arch.metastore import db_models as storage
from fate_flow.db import db_models as jobs
storage.init_database_tables()
jobs.init_database_tables()
"""
    flow.execute(f"python -c '{code.replace(chr(39), chr(34))}'")


def test_an_old_database_is_upgraded_to_what_a_new_one_has(
    services: Network, settings: Settings, tmp_path: Path
) -> None:
    """By FATE's own SQL, on tables that the old FATE Flow itself made."""
    old_code(settings.fate_dir, tmp_path)
    database = start_database(services, DATABASE, "new")
    old = "/old"
    make_tables(
        services,
        DATABASE,
        {"FATE_PROJECT_BASE": old, "PYTHONPATH": f"{old}/python:{old}/fateflow/python"},
        [f"{tmp_path}:{old}"],
    )
    make_tables(services, "new", {"FATE_PROJECT_BASE": "/data/projects/fate"}, [])
    before = columns(database, DATABASE)
    new = columns(database, "new")
    assert before["t_task"] < new["t_task"]
    end = settings.tag.removesuffix("-release")
    said = upgrade_database(services, reference, UPGRADED_FROM, end)
    assert f"has been upgraded from {UPGRADED_FROM} to {end}" in said
    after = columns(database, DATABASE)
    # Tables that are new since then FATE Flow makes itself.
    assert {table: after[table] for table in after if table in new} == {
        table: new[table] for table in new if table in after
    }
