"""What the images are for, tried: services started as deployments start them, and asked as their users ask them.

The same functions are run on the sample's images and on those of real FATE; ``reference`` gives an image's reference by
its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

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


#: FATE's own table in HDFS, as FATE Flow makes one: what is written is read again.
_HDFS_TABLE = """
from types import SimpleNamespace
from fate_arch.common.address import HDFSAddress
from fate_arch.storage.hdfs._table import StorageTable
table = StorageTable(HDFSAddress("hdfs://namenode:9000", "/fate/table"), "table", "test", partitions=1)
table._meta = SimpleNamespace(get_count=lambda: 0, update_metas=lambda **_: None)
table._put_all([(f"k{number}", f"v{number}") for number in range(1000)], append=False)
print("read", table._count(), list(table._collect())[-1])
"""


def keep_a_table_in_hdfs(network: Network, reference: Reference, image: str) -> str:
    """What ``image`` says of a table that FATE keeps in the HDFS of a name node and a data node."""
    hdfs = standin(network.engine, "hdfs", "localhost/fimg-test/hdfs:3.3.4")
    name = network.start("namenode", hdfs, ["namenode"])
    name.wait_for(9870, "/")
    network.start("datanode", hdfs, ["datanode"])
    name.wait_until("a data node is there", lambda: b'"NumLiveDataNodes":1' in _name_node_state(name))
    return network.start("client", reference(image), ["sleep", "infinity"]).execute(f"python -c '{_HDFS_TABLE}'")


def _name_node_state(name: Service) -> bytes:
    return name.answer(9870, "/jmx?qry=Hadoop:service=NameNode,name=FSNamesystemState").replace(b" ", b"")


#: What KubeFATE has in Eggroll's configuration for services by these names.
_EGGROLL = {
    "clustermanager.jdbc.url": f"jdbc:mysql://mysql:3306/{DATABASE}?useSSL=false\\&serverTimezone=UTC"
    "\\&characterEncoding=utf8\\&allowPublicKeyRetrieval=true",
    "clustermanager.jdbc.username": "root",
    "clustermanager.jdbc.password": DATABASE_PASSWORD,
    "clustermanager.host": "clustermanager",
    "process.tag": "fimg",
    "bootstrap.egg_pair.venv": "/data/projects/python/venv",
    "bootstrap.egg_pair.pythonpath": "/data/projects/fate/fate/python:/data/projects/fate/eggroll/python",
}
_EGGROLL_JOB = """
from eggroll.core.session import ErSession
from eggroll.roll_pair.roll_pair import RollPairContext
session = ErSession(options={"eggroll.session.deploy.mode": "cluster"})
try:
    numbers = RollPairContext(session).parallelize(range(1000), options={"total_partitions": 2, "include_key": False})
    doubled = numbers.map_values(lambda x: 2 * x)
    print("the sum is", doubled.reduce(lambda a, b: a + b))
finally:
    session.stop()
"""


def compute_on_eggroll(network: Network, reference: Reference) -> str:
    """What a job says that a cluster manager and a node manager compute, each started as KubeFATE starts it."""
    database = start_database(network, DATABASE)
    configured = "; ".join(
        f"sed -i 's|^eggroll.resourcemanager.{name}=.*|eggroll.resourcemanager.{name}={value}|' conf/eggroll.properties"
        for name, value in _EGGROLL.items()
    )
    names = {"clustermanager": ("CLUSTER_MANAGER", 4670), "nodemanager": ("NODE_MANAGER", 4671)}
    services = {}
    for name, (kind, port) in names.items():
        main = f"com.webank.eggroll.core.resourcemanager.{kind.title().replace('_', '')}Bootstrap"
        start = (
            f"{configured}; exec java -Dlog4j.configurationFile=$EGGROLL_HOME/conf/log4j2.properties "
            f"-cp '/data/projects/fate/eggroll/lib/*' com.webank.eggroll.core.Bootstrap --bootstraps {main} "
            f"-c $EGGROLL_HOME/conf/eggroll.properties -p {port} -s fimg"
        )
        services[name] = network.start(name, reference("eggroll"), ["bash", "-c", f"sleep 2; {start}"])
        if name == "clustermanager":
            tables = services[name].execute("cat conf/create-eggroll-meta-tables.sql")
            nodes = "".join(
                "INSERT INTO server_node (name, server_cluster_id, host, port, node_type, status) "
                f"VALUES ('', 0, '{host}', {number}, '{node}', 'HEALTHY');\n"
                for host, (node, number) in names.items()
            )
            text = f"USE {DATABASE};\n{tables}\n{nodes}"
            database.execute(f"mariadb <<'END'\n{text}\nEND")
        services[name].wait_until("it listens", partial(_listens, services[name], port))
    return services["nodemanager"].execute(f"python - <<'END'\n{_EGGROLL_JOB}\nEND")


def _listens(service: Service, port: int) -> bool:
    return bool(service.container.exec_run(["bash", "-c", f"</dev/tcp/{service.name}/{port}"]).exit_code == 0)


def ask_proxy(network: Network, reference: Reference) -> bytes:
    """What nginx's Lua answers on the page that FATE's configuration has for it."""
    return network.start("nginx", reference("nginx")).wait_for(9302, "/test")


def upgrade_database(network: Network, reference: Reference, start: str, end: str) -> str:
    """What fate-upgrade-manager says when it takes the database from one version to another, as KubeFATE's job does."""
    # What Kubernetes tells every pod beside a Service called mysql.
    told = {"MYSQL_PORT": "tcp://10.96.12.7:3306", "MYSQL_SERVICE_HOST": "10.96.12.7", "MYSQL_SERVICE_PORT": "3306"}
    manager = network.start("upgrade", reference("fate-upgrade-manager"), ["sleep", "infinity"], environment=told)
    return manager.execute(f"python upgrade-mysql.py root {DATABASE_PASSWORD} {start} {end}")
