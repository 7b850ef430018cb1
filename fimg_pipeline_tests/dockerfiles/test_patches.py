"""Patches of FATE-Board's front end: whole, or an error."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from fimg_pipeline.dockerfiles import ROOT
from fimg_pipeline_tests.dockerfiles.loading import load

patches = load("packages/fateboard/patches.py")

#: What FATE-Board 1.11 asks for, less what has nothing to do with it.
ASKED = {
    "dependencies": {"vue": "^2.5.22", "hmac_sha1": "^0.0.1"},
    "devDependencies": {"node-sass": "^4.11.0", "sass-loader": "^7.1.0", "webpack": "^4.29.0"},
}
STYLE = "<style lang='scss'>.a /deep/ .b { c: d } .e /deep/ .f {}</style>"


def front(folder: Path, asked: dict[str, Any] | None = None, **sources: str) -> Path:
    (folder / "package.json").write_text(json.dumps(ASKED if asked is None else asked))
    (folder / "package-lock.json").write_text("{}")
    for name, text in {"style": STYLE, **sources}.items():
        file = folder / "src" / f"{name}.vue"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    return folder


def asked(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "package.json").read_text())
    return found


def test_what_is_gone_is_replaced_everywhere(tmp_path: Path) -> None:
    lines = patches.patch(front(tmp_path))
    assert [line.partition(":")[0] for line in lines] == ["hmac_sha1", "node-sass"]
    assert asked(tmp_path) == {
        "dependencies": {"vue": "^2.5.22"},
        "devDependencies": {"sass-loader": "7.3.1", "webpack": "^4.29.0", "sass": "1.32.13"},
    }
    assert (tmp_path / "src/style.vue").read_text() == STYLE.replace("/deep/", "::v-deep")
    assert not (tmp_path / "package-lock.json").exists()


def test_where_it_is_asked_for_does_not_matter(tmp_path: Path) -> None:
    moved = {"dependencies": {"node-sass": "4", "sass-loader": "7.1.0"}, "devDependencies": {"hmac_sha1": "0"}}
    patches.patch(front(tmp_path, moved))
    assert asked(tmp_path) == {"dependencies": {"sass-loader": "7.3.1", "sass": "1.32.13"}, "devDependencies": {}}


def test_each_is_asked_for_once(tmp_path: Path) -> None:
    patches.patch(front(tmp_path, {"dependencies": {"sass-loader": "7"}, "devDependencies": {"node-sass": "4"}}))
    assert asked(tmp_path) == {"dependencies": {"sass-loader": "7.3.1"}, "devDependencies": {"sass": "1.32.13"}}


def test_only_styles_are_rewritten(tmp_path: Path) -> None:
    script = "<script>\nimport C from '@/components/deep/C.vue'\n</script>"
    patches.patch(front(tmp_path, page=f"{script}\n{STYLE}"))
    assert (tmp_path / "src/page.vue").read_text() == f"{script}\n{STYLE.replace('/deep/', '::v-deep')}"


def test_a_front_end_that_has_moved_on_stays_as_it_is(tmp_path: Path) -> None:
    assert patches.patch(front(tmp_path, {"devDependencies": {"sass": "1.60.0"}})) == []
    assert (tmp_path / "src/style.vue").read_text() == STYLE
    assert (tmp_path / "package-lock.json").exists()


@pytest.mark.parametrize(
    "code",
    [
        "import sha from 'hmac_sha1'",
        "const x = require ('hmac_sha1')",
        'import "hmac_sha1/lib"',
        "const y = import(/* later */ 'hmac_sha1')",
    ],
)
def test_what_is_imported_can_not_be_dropped(
    tmp_path: Path, code: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    front(tmp_path, crypt=f"<script>\n{code}\n</script>")
    monkeypatch.setattr(sys, "argv", ["patches.py", str(tmp_path)])
    assert patches.main() == 1
    assert "hmac_sha1 can't be had any more, and is imported by src/crypt.vue" in capsys.readouterr().err
    assert asked(tmp_path) == ASKED, "nothing is half patched"


def test_a_comment_is_no_import(tmp_path: Path) -> None:
    assert len(patches.patch(front(tmp_path, crypt="<script>\n  // import x from 'hmac_sha1'\n</script>"))) == 2


def test_another_loader_is_another_patch(tmp_path: Path) -> None:
    newer = {**ASKED, "devDependencies": {"node-sass": "^4.11.0", "sass-loader": "^10.1.0"}}
    with pytest.raises(patches.PatchError, match=r"made for sass-loader 7, here it is \^10"):
        patches.patch(front(tmp_path, newer))


def test_a_patch_that_has_nothing_to_rewrite_does_not_apply_any_more(tmp_path: Path) -> None:
    with pytest.raises(patches.PatchError, match="node-sass rewrites '/deep/' in styles, and it is in none"):
        patches.patch(front(tmp_path, style="<style>.a >>> .b {}</style>"))
    assert asked(tmp_path) == ASKED, "nothing is half patched"


def test_a_version_that_is_asked_for_is_not_lowered(tmp_path: Path) -> None:
    newer = {**ASKED, "devDependencies": {**ASKED["devDependencies"], "sass": "1.69.0"}}
    with pytest.raises(patches.PatchError, match=r"node-sass adds sass, and 1\.69\.0 is asked for"):
        patches.patch(front(tmp_path, newer))


def test_the_builds_own_files_count_too(tmp_path: Path) -> None:
    (front(tmp_path) / "vue.config.js").write_text("module.exports = { sass: require('node-sass') }\n")
    with pytest.raises(
        patches.PatchError, match=r"node-sass can't be had any more, and is imported by vue\.config\.js"
    ):
        patches.patch(tmp_path)


def test_another_encoding_is_told(tmp_path: Path) -> None:
    (front(tmp_path) / "src/old.vue").write_bytes("中文".encode("gbk"))
    with pytest.raises(patches.PatchError, match=r"src/old\.vue is not in UTF-8"):
        patches.patch(tmp_path)


def test_the_lock_pins_what_the_patched_front_end_asks_for(tmp_path: Path) -> None:
    """Every package by its hash, from no registry in particular, and none of what is dropped."""
    lock = json.loads((ROOT / "packages/fateboard/package-lock.json").read_text())["packages"]
    root = lock.pop("")
    assert len(lock) > 1000
    assert [path for path, pinned in lock.items() if not pinned.get("integrity", "").startswith("sha512-")] == []
    assert [path for path, pinned in lock.items() if "resolved" in pinned] == []
    for patch in patches.PATCHES:
        assert not any(path.endswith(f"node_modules/{patch.package}") for path in lock)
        for name, version in (patch.instead or {}).items():
            assert root["devDependencies"][name] == lock[f"node_modules/{name}"]["version"] == version
