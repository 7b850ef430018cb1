"""What each image promises to those who run it, as data: the build document's table and what KubeFATE reaches for.

KubeFATE overrides start commands and mounts files over those of the images, so paths, programs and writable folders are
promises like ports and variables.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from fimg_pipeline.catalog.images import IMAGES

FATE = "/data/projects/fate"
VENV = "/data/projects/python/venv"
#: What KubeFATE's start commands use in every container.
SHELL = ("bash", "sed", "cp", "mkdir", "sleep", "ln")


@dataclass(frozen=True)
class Promise:
    """``environment``: exact values; ``defined``: variables with any value; ``path``: folders PATH begins with.

    ``command``: words that the start command has, in this order; ``None``: there is no command. ``programs`` are found
    by PATH, ``files`` (patterns of the shell) are there and hold something, ``folders`` are there, ``same`` are further
    names of files, ``writable`` folders can be written to.
    """

    folder: str
    environment: Mapping[str, str] = field(default_factory=dict)
    defined: tuple[str, ...] = ()
    path: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] | None = ()
    stop_signal: str | None = None
    programs: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    same: Mapping[str, str] = field(default_factory=dict)
    writable: tuple[str, ...] = ()


_PYTHON = Promise(
    folder="/data/projects/python",
    environment={"VIRTUAL_ENV": VENV},
    path=(f"{VENV}/bin",),
    programs=("python",),
    files=(f"{VENV}/bin/activate", f"{VENV}/bin/python", "/data/projects/python/requirements.txt"),
)
#: FATE's code and what KubeFATE mounts its own over.
_FATE_FILES = (
    f"{FATE}/fate/python/fate_arch/*",
    f"{FATE}/fate/python/federatedml/*",
    f"{FATE}/conf/service_conf.yaml",
    f"{FATE}/conf/pulsar_route_table.yaml",
    f"{FATE}/conf/rabbitmq_route_table.yaml",
)
_EGGROLL_FILES = (
    f"{FATE}/eggroll/conf/eggroll.properties",
    f"{FATE}/eggroll/conf/log4j2.properties",
    f"{FATE}/eggroll/python/eggroll/*",
)
_FATEFLOW = Promise(
    folder=FATE,
    environment={
        **_PYTHON.environment,
        "PYTHONPATH": f"{FATE}/:{FATE}/eggroll/python:{FATE}/fate/python:{FATE}/fateflow/python",
        "EGGROLL_HOME": f"{FATE}/eggroll",
        "FATE_PROJECT_BASE": FATE,
    },
    path=_PYTHON.path,
    ports=(9360, 9380),
    command=("bash", "sleep 5", "fateflow/python/fate_flow/fate_flow_server.py"),
    programs=("python", "curl"),
    files=(
        *_PYTHON.files,
        *_FATE_FILES,
        *_EGGROLL_FILES,
        f"{FATE}/examples/*",
        f"{FATE}/fateflow/python/fate_flow/fate_flow_server.py",
        f"{FATE}/fate.env",
    ),
    writable=(
        f"{FATE}/conf",
        f"{FATE}/fateflow/jobs",
        f"{FATE}/fateflow/logs",
        f"{FATE}/fateflow/model_local_cache",
    ),
)
_SPARK_FILES = (
    "/spark/jars/spark-core_*.jar",
    "/spark/bin/spark-class",
    # By these pyarrow reaches HDFS, where KubeFATE's Spark mode keeps FATE's tables.
    "/data/projects/hadoop/bin/hadoop",
    "/data/projects/hadoop/lib/native/libhdfs.so",
    "/data/projects/hadoop/share/hadoop/hadoop-client-*.jar",
)
_SPARK_FOLDERS = ("/data/projects/spark-3.1.3-bin-hadoop3.2/conf",)
#: Whatever version Spark has: KubeFATE mounts its defaults there.
_SPARK_SAME = {"/data/projects/spark-3.1.3-bin-hadoop3.2": "/spark"}
_FATEFLOW_SPARK = replace(
    _FATEFLOW,
    defined=("JAVA_HOME", "SPARK_HOME", "HADOOP_HOME"),
    programs=(*_FATEFLOW.programs, "java", "spark-submit", "hadoop"),
    files=(*_FATEFLOW.files, *_SPARK_FILES),
    folders=_SPARK_FOLDERS,
    same=_SPARK_SAME,
)
_SPARK_BASE = Promise(
    folder="/",
    defined=("SPARK_VERSION", "HADOOP_VERSION", "HADOOP_HOME", "JAVA_HOME", "PYTHONPATH"),
    programs=("python", "java", "spark-submit"),
    files=_SPARK_FILES,
    folders=_SPARK_FOLDERS,
    same=_SPARK_SAME,
)

#: By recipe. Images whose recipe is not here only add to their parent, and keep its promises.
PROMISES: Final[Mapping[str, Promise]] = {
    "base/basic": _PYTHON,
    "modules/fateflow": _FATEFLOW,
    "modules/fateboard": Promise(
        folder=f"{FATE}/fateboard",
        ports=(8080,),
        command=("java", "2048m", f"{FATE}/fateboard/conf/application.properties", "fateboard/conf/", "fateboard.jar"),
        programs=("java",),
        files=(
            f"{FATE}/fateboard/fateboard.jar",
            f"{FATE}/fateboard/conf/application.properties",
        ),
        # KubeFATE's logins to other machines, if any.
        folders=(f"{FATE}/fateboard/conf/ssh.properties", f"{FATE}/fateflow/logs"),
    ),
    "modules/eggroll": Promise(
        folder=f"{FATE}/eggroll",
        environment={
            **_PYTHON.environment,
            "PYTHONPATH": f"{FATE}/fate/python:{FATE}/eggroll/python:{FATE}/fateflow/python",
            "EGGROLL_HOME": f"{FATE}/eggroll",
        },
        ports=(4670, 4671, 9370),
        entrypoint=("/tini", "--"),
        command=None,
        # egg_pair's start script calls strace and takes the environment of VIRTUAL_ENV.
        programs=("python", "java", "strace"),
        files=(
            *_PYTHON.files,
            "/tini",
            *_FATE_FILES,
            *_EGGROLL_FILES,
            f"{FATE}/eggroll/bin/*.sh",
            f"{FATE}/eggroll/conf/create-eggroll-meta-tables.sql",
            f"{FATE}/eggroll/lib/*.jar",
        ),
        folders=(f"{FATE}/eggroll/logs/eggroll",),
        writable=(f"{FATE}/eggroll/data", f"{FATE}/eggroll/logs"),
    ),
    "modules/fateflow-spark": _FATEFLOW_SPARK,
    "modules/spark-base": _SPARK_BASE,
    "modules/spark-master": replace(
        _SPARK_BASE,
        environment={"SPARK_MASTER_PORT": "7077", "SPARK_MASTER_WEBUI_PORT": "8080", "SPARK_MASTER_LOG": "/spark/logs"},
        ports=(8080, 7077, 6066),
        command=("/master.sh",),
        files=(*_SPARK_FILES, "/master.sh"),
        writable=("/spark/logs",),
    ),
    "modules/spark-worker": replace(
        _SPARK_BASE,
        environment={
            "SPARK_WORKER_WEBUI_PORT": "8081",
            "SPARK_WORKER_LOG": "/spark/logs",
            "SPARK_MASTER": "spark://spark-master:7077",
        },
        ports=(8081,),
        command=("/worker.sh",),
        files=(*_SPARK_FILES, *_FATE_FILES, "/worker.sh"),
        writable=("/spark/logs",),
    ),
    "modules/nginx": Promise(
        folder=f"{FATE}/proxy",
        path=(f"{FATE}/proxy/bin", f"{FATE}/proxy/nginx/sbin"),
        ports=(9300, 9310),
        command=("openresty", "-g", "daemon off;"),
        stop_signal="SIGQUIT",
        programs=("openresty", "nginx"),
        files=tuple(
            f"{FATE}/proxy/nginx/{name}"
            for name in (
                "conf/nginx.conf",
                "conf/mime.types",
                "conf/route_table.yaml",
                "conf/vhost/*.conf",
                "lua/*.lua",
                "modules/*.so",
                "html/50x.html",
            )
        ),
        writable=(f"{FATE}/proxy/nginx/logs", f"{FATE}/proxy/nginx/conf", f"{FATE}/proxy/nginx/lua"),
    ),
    "modules/client": replace(
        _FATEFLOW,
        environment={**_FATEFLOW.environment, "FATE_FLOW_IP": "fateflow", "FATE_FLOW_PORT": "9380"},
        ports=(20000,),
        command=("/client.sh",),
        programs=("python", "pipeline", "flow", "jupyter"),
        files=(*_FATEFLOW.files, "/client.sh"),
    ),
    "modules/fate-test": replace(
        _FATEFLOW,
        ports=(),
        command=(),
        programs=("python", "pipeline", "flow", "fate_test"),
        files=(*_FATEFLOW.files, f"{FATE}/test_suite/*.json"),
    ),
    "modules/fate-upgrade-manager": Promise(
        folder="/",
        programs=("python", "upgrade-mysql.py", "shutdown-flow.py"),
        files=("/sql/*.sql", "/upgrade-mysql.py", "/shutdown-flow.py"),
    ),
}


def promise(name: str) -> Promise:
    """What the image ``name`` promises."""
    image = IMAGES[name]
    while image.recipe_path not in PROMISES:
        assert image.parent is not None, f"{image.name} promises nothing"
        image = IMAGES[image.parent]
    return PROMISES[image.recipe_path]


def broken(promised: Promise, config: Mapping[str, Any]) -> list[str]:
    """What an image's configuration (``docker inspect``) does not keep of a promise."""
    environment = dict(entry.partition("=")[::2] for entry in config.get("Env") or ())
    search = environment.get("PATH", "").split(":")
    ports = {int(port.partition("/")[0]) for port in config.get("ExposedPorts") or {}}
    started = " ".join(config.get("Cmd") or ())
    problems = []
    if (config.get("WorkingDir") or "/") != promised.folder:
        problems.append(f"starts in {config.get('WorkingDir')}, not {promised.folder}")
    # What KubeFATE mounts is owned by root, and is written to.
    if config.get("User") not in (None, "", "0", "root"):
        problems.append(f"it runs as {config['User']}, not as root")
    problems += [
        f"{name} is {environment.get(name)!r}, not {value!r}"
        for name, value in promised.environment.items()
        if environment.get(name) != value
    ]
    problems += [f"{name} is not set" for name in promised.defined if not environment.get(name)]
    if tuple(search[: len(promised.path)]) != promised.path:
        problems.append(f"PATH begins with {search[: len(promised.path)]}, not {promised.path}")
    problems += [f"port {port} is not exposed" for port in promised.ports if port not in ports]
    if tuple(config.get("Entrypoint") or ()) != promised.entrypoint:
        problems.append(f"its entry point is {config.get('Entrypoint')}, not {promised.entrypoint}")
    if promised.command is None and started:
        problems.append(f"it has the command {started!r}")
    place = 0
    for word in promised.command or ():
        found = started.find(word, place)
        if found < 0:
            problems.append(f"its command {started!r} lacks {word!r}")
            break
        place = found + len(word)
    if promised.stop_signal is not None and config.get("StopSignal") != promised.stop_signal:
        problems.append(f"its stop signal is {config.get('StopSignal')}")
    return problems


def inside(promised: Promise) -> list[str]:
    """A command that prints, in a container, what is not kept of the programs, files and folders of a promise."""
    lines = [
        f"command -v {shlex.quote(name)} >/dev/null || echo no program {name}" for name in (*SHELL, *promised.programs)
    ]
    # A folder holds something when it lists something; the file whose name is the pattern itself is none.
    full = '{ [ -f "$each" ] && [ -s "$each" ]; } || { [ -d "$each" ] && [ -n "$(ls -A "$each")" ]; }'
    lines += [
        f"found=; for each in {name}; do {{ {full}; }} && found=1; done; [ -n \"$found\" ] || echo 'no {name}'"
        for name in promised.files
    ]
    lines += [f"[ -e {shlex.quote(name)} ] || echo no {name}" for name in promised.folders]
    lines += [f"[ {shlex.quote(a)} -ef {shlex.quote(b)} ] || echo {a} is not {b}" for a, b in promised.same.items()]
    lines += [
        f"touch {shlex.quote(name)}/.promise && rm {shlex.quote(name)}/.promise || echo {name} is not writable"
        for name in promised.writable
    ]
    return ["bash", "-c", "\n".join(lines)]
