"""The empty second engine: gone after its use, whatever became of its user."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.errors import EngineError
from fimg_pipeline.engine.second import second_engine, second_image
from fimg_pipeline.settings import load

pytestmark = pytest.mark.engine

#: Starts one, says its name, and waits.
USER = """
import sys, time
from pathlib import Path
from fimg_pipeline.engine.client import Engine
from fimg_pipeline.engine.second import second_engine
with second_engine(Engine(), sys.argv[1], {}, Path(sys.argv[2])) as second:
    print(second.container.name, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    return second_image(engine, load(), print)


def there(engine: Engine) -> set[str]:
    return {str(container.name) for container in engine.sdk.containers.list(all=True, ignore_removed=True)}


def test_what_a_killed_process_left_is_removed_by_the_next_and_no_other(
    engine: Engine, image: str, tmp_path: Path
) -> None:
    users = [
        subprocess.Popen([sys.executable, "-c", USER, image, tmp_path / "home"], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    names = [user.stdout.readline().strip() for user in users if user.stdout is not None]
    try:
        assert set(names) <= there(engine)
        os.kill(users[0].pid, signal.SIGKILL)
        users[0].wait()
        # Somebody else's state folder does not say whose it is.
        with second_engine(engine, image, {}, tmp_path / "other"):
            assert set(names) <= there(engine)
        with second_engine(engine, image, {}, tmp_path / "home") as second:
            assert names[0] not in there(engine) and names[1] in there(engine)
            assert second.run(["docker", "image", "ls", "--quiet"]) == (0, "")
        assert second.container.name not in there(engine)
    finally:
        for user in users:
            user.kill()
            user.wait()
        with second_engine(engine, image, {}, tmp_path / "home"):
            """Removes the other, too."""
    assert not set(names) & there(engine)


def test_a_folder_the_engine_has_not_is_told(engine: Engine, image: str, tmp_path: Path) -> None:
    """As of an engine on another machine."""
    with (
        pytest.raises(EngineError, match="bind source path does not exist"),
        second_engine(engine, image, {tmp_path / "nowhere": "/x"}, tmp_path),
    ):
        raise AssertionError("it started")
    assert not (tmp_path / "nowhere").exists()


def test_an_engine_elsewhere_is_sent_the_files(image: str, tmp_path: Path) -> None:
    class Elsewhere(Engine):
        """Whose disk is not to be seen from here."""

        disk = None

    (tmp_path / "folder/below").mkdir(parents=True)
    large = os.urandom((3 << 20) + 5)
    (tmp_path / "folder/large").write_bytes(large)
    (tmp_path / "folder/below/small").write_text("x")
    with second_engine(Elsewhere(), image, {tmp_path / "folder": "/bundle"}, tmp_path / "home") as second:
        status, output = second.run(["sha256sum", "/bundle/large", "/bundle/below/small"])
    digests = [hashlib.sha256(content).hexdigest() for content in (large, b"x")]
    assert (status, [line.split()[0] for line in output.splitlines()]) == (0, digests)
