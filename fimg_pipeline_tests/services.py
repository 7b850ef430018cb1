"""What the images are for, tried: services started as deployments start them, and asked as their users ask them.

The same functions are run on the sample's images and on those of real FATE; ``reference`` gives an image's reference by
its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from fimg_pipeline_tests.rig.containers import Network, Service
from fimg_pipeline_tests.rig.standins import standin

Reference = Callable[[str], str]

#: What the upgrade's command looks for by itself, as KubeFATE's chart has it.
DATABASE, DATABASE_PASSWORD = "eggroll_meta", "fate_dev"


def start_database(network: Network, *names: str) -> Service:
    """MariaDB by the name ``mysql`` with empty databases ``names``."""
    image = standin(network.engine, "mysql", "localhost/fimg-test/mysql:8.0.28")
    database = network.start("mysql", image, environment={"MYSQL_ROOT_PASSWORD": DATABASE_PASSWORD})
    ready = f"mariadb --host=mysql --password={DATABASE_PASSWORD} --execute='SELECT 1'"
    database.wait_until(
        "it answers over the network", lambda: database.container.exec_run(["bash", "-c", ready]).exit_code == 0
    )
    for name in names:
        database.execute(f"mariadb --execute='CREATE DATABASE {name}'")
    return database


def columns(database: Service, name: str) -> dict[str, set[str]]:
    """The columns of the database ``name``, by table."""
    sql = f"SELECT TABLE_NAME, COLUMN_NAME FROM INFORMATION_SCHEMA.COLUMNS WHERE TABLE_SCHEMA='{name}'"
    found: dict[str, set[str]] = {}
    for row in database.execute(f'mariadb --batch --skip-column-names --execute="{sql}"').splitlines():
        table, column = row.split("\t")
        found.setdefault(table, set()).add(column)
    return found


def compute_pi_on_spark(network: Network, reference: Reference) -> float:
    """Pi by a job with two executors, on a master and two workers started by the images' own commands."""
    master = network.start("spark-master", reference("spark-master"))
    master.wait_for(8080, "/")
    for worker in ("spark-worker-1", "spark-worker-2"):
        network.start(worker, reference("spark-worker"), environment={"SPARK_WORKER_CORES": "1"}).wait_for(8081, "/")
    output = master.execute(
        "/spark/bin/spark-submit --master spark://spark-master:7077 --executor-cores 1 --total-executor-cores 2 "
        "/spark/examples/src/main/python/pi.py 10"
    )
    executors = set(re.findall(r"Granted executor ID (app-\S+/\d+)", output))
    assert len(executors) == 2, output
    found = re.search(r"Pi is roughly ([0-9.]+)", output)
    assert found is not None, output
    return float(found[1])


def ask_proxy(network: Network, reference: Reference) -> bytes:
    """What nginx's Lua answers on the page that FATE's configuration has for it."""
    return network.start("nginx", reference("nginx")).wait_for(9302, "/test")


def upgrade_database(network: Network, reference: Reference, start: str, end: str) -> str:
    """What fate-upgrade-manager says when it takes the database from one version to another, as KubeFATE's job does."""
    manager = network.start("upgrade", reference("fate-upgrade-manager"), ["sleep", "infinity"])
    return manager.execute(f"python upgrade-mysql.py root {DATABASE_PASSWORD} {start} {end}")
