"""python.sh in a container of its base: what an environment holds depends on a date, not on what was built before."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fimg_pipeline.catalog.bases import BASES
from fimg_pipeline.dockerfiles import ROOT
from fimg_pipeline.engine.bases import ensure_base
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.secrets import secret_files
from fimg_pipeline.settings import load

pytestmark = pytest.mark.engine

Run = Callable[[str, str], str]
ENVIRONMENT = "export VIRTUAL_ENV=/data/projects/python/venv; python_create $VIRTUAL_ENV; : > $FIMG_LOCK"


@pytest.fixture
def run(engine: Engine, tmp_path: Path) -> Iterator[Run]:
    """Runs shell commands after python.sh as of a date, with a cache and a ``lib/`` that are this test's own."""
    settings = load()
    base = ensure_base(BASES["python"], engine.platform, settings, engine, log=print).image_id
    cache, lib, secrets = (tmp_path / name for name in ("cache", "lib", "secrets"))
    cache.mkdir()
    secrets.mkdir()
    shutil.copytree(ROOT / "lib", lib, ignore=shutil.ignore_patterns("__pycache__"))
    secret_files(secrets, settings.ca_bundle, settings.network_variables)

    def in_container(date: str, commands: str) -> str:
        output: bytes = engine.sdk.containers.run(
            base,
            ["sh", "-c", f". /run/fimg/python.sh; {commands}"],
            environment={"SOURCE_DATE": date},
            volumes={
                str(folder): {"bind": place, "mode": "rw"}
                for folder, place in ((cache, "/run/cache/python"), (lib, "/run/fimg"), (secrets, "/run/secrets"))
            },
            tmpfs={"/run": "exec"},
            remove=True,
            stderr=True,
        )
        return output.decode()

    yield in_container
    # Root's, as what a container writes.
    in_container("", "rm -rf /run/cache/python/*")


def test_what_is_built_from_source_is_of_its_date(run: Run) -> None:
    """torch-geometric 2.2.0 has no wheel; its build wants whichever ``wheel`` there was."""
    install = (
        "uv venv --quiet --python python3 /environment; "
        "uv pip install --verbose --python /environment/bin/python --no-deps torch-geometric==2.2.0 six==1.16.0; "
        "grep Generator /environment/lib/python3*/site-packages/torch_geometric-2.2.0.dist-info/WHEEL; "
        'uv cache prune --cache-dir "$FIMG_CACHE/uv"; find "$UV_CACHE_DIR" -type d'
    )
    later, earlier, again = run("2023-10-30", install), run("2023-05-31", install), run("2023-10-30", install)
    made_by = [re.findall(r"bdist_wheel \(([0-9.]+)\)", output)[-1] for output in (later, earlier, again)]
    assert made_by == ["0.41.3", "0.40.0", "0.41.3"]
    assert "already cached: six==1.16.0" in earlier, "what is downloaded is of no date"
    assert "already cached: torch-geometric==2.2.0" in again, "nothing is built twice, nor tidied away"
    # All folders of uv's cache are links: one that another version of uv calls otherwise would not be shared.
    assert len(re.findall(r"^/run/cache/python/of-", earlier, re.MULTILINE)) == 1, earlier


def test_versions_taken_before_are_preferred(run: Run, tmp_path: Path) -> None:
    """Also those their authors have withdrawn, as they have urllib3 1.25.1."""
    install = f"{ENVIRONMENT}; python_install 'urllib3<1.25.2'; cat $FIMG_LOCK"
    assert "urllib3==1.24.3\n" in run("2023-05-31", install)
    machine = run("", "uname -m").strip()
    (tmp_path / "lib" / "known-versions.txt").write_text(
        f"# notes\n\n# as of 2023-05-31 on {machine}\nsix==1.16.0\nurllib3==1.25.1\n\n# as of 2023-06-01 on {machine}\n"
    )
    assert "urllib3==1.25.1\n" in run("2023-05-31", install)
    assert "urllib3==1.24.3\n" in run("2023-06-01", install)


def test_no_file_is_of_whichever_package_came_last(run: Run) -> None:
    """Both of these put a README.md at the top of the environment."""
    install = f"{ENVIRONMENT}; python_install casbin==1.16.6 casbin-sqlalchemy-adapter==0.4.2; ls $VIRTUAL_ENV"
    assert "README.md" not in run("2023-05-31", install)
