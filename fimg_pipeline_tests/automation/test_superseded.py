"""What goes and what stays, from what is on record and on the engine."""

from __future__ import annotations

from fimg_pipeline.automation.superseded import History, Made, old_runs, superseded_bases, superseded_images
from fimg_pipeline.plan.model import StoredImage


def made(asset: str, tag: str, fingerprint: str, at: float, platform: str = "amd64") -> Made:
    return Made(asset, f"{platform}|{tag}", f"run of {fingerprint}", at, fingerprint)


HISTORY = History(
    [
        made("nginx", "nightly", "n4", 90),
        made("nginx", "nightly", "n3", 80),
        # Recorded again, as after a lost image.
        made("nginx", "nightly", "n3", 75),
        made("nginx", "nightly", "n2", 70),
        made("nginx", "nightly", "n1", 60),
        made("nginx", "1.11.2-release", "r1", 10),
        made("nginx", "try", "t1", 20),
        made("eggroll", "nightly", "e1", 5),
        made("nginx", "nightly", "a1", 4, "arm64"),
    ]
)


def test_the_last_of_everything_stay() -> None:
    assert {each.fingerprint for each in HISTORY.last(1)} == {"n4", "r1", "t1", "e1", "a1"}
    assert {each.fingerprint for each in HISTORY.last(2)} == {"n4", "n3", "r1", "t1", "e1", "a1"}
    assert {each.fingerprint for each in HISTORY.last(3)} == {"n4", "n3", "n2", "r1", "t1", "e1", "a1"}
    assert {each.fingerprint for each in HISTORY.last(1, without=["try"])} == {"n4", "r1", "e1", "a1"}


def test_what_has_no_fingerprint_is_not_taken_for_the_same() -> None:
    history = History([Made("registry/lists", "t", "3", 3), Made("registry/lists", "t", "2", 2)])
    assert [each.run for each in history.last(2)] == ["3", "2"]


def test_tags_go_that_nobody_wants_and_nothing_was_built_under() -> None:
    tags = ["nightly", "1.11.2-release", "never-built"]
    # Of one that is no partition any more the images may be there still.
    assert HISTORY.tags_before(50, tags, ["1.11.2-release"]) == ["never-built", "try"]
    # Releases stay as long as they are partitions.
    assert HISTORY.tags_before(15, tags, []) == ["never-built"]
    assert HISTORY.tags_before(15, ["never-built"], []) == ["never-built", "1.11.2-release"]


def image(fingerprint: str | None, *names: str, kind: str = "image/nginx") -> StoredImage:
    own = () if fingerprint is None else (f"localhost/fimg/{kind}:{fingerprint}",)
    return StoredImage(f"sha256:{fingerprint}", frozenset({*own, *names}), fingerprint, "amd64")


def going(
    *images: StoredImage, names: tuple[str, ...] = (), found: bool = False, ids: tuple[str, ...] = ()
) -> dict[str, str]:
    """``found``: n2 was not built here."""
    known = {each.fingerprint for each in HISTORY.made}
    return dict(superseded_images(images, known, known - {"n2"} if found else known, {"n4", "n3", "r1"}, names, ids))


def test_superseded_images_and_packages_go() -> None:
    package = image("n2", kind="package/proxy")
    assert going(image("n4", "federatedai/nginx:nightly"), image("n3"), image("n1"), package) == {
        "localhost/fimg/image/nginx:n1": "superseded",
        "localhost/fimg/package/proxy:n2": "superseded",
    }


def test_what_somebody_gave_a_name_stays() -> None:
    assert going(image("n1", "me/nginx:keep")) == {}
    # And what others made on the same engine, or by hand.
    assert going(image("unknown"), image(None, "federatedai/nginx:old")) == {}


def test_names_of_a_tag_that_is_gone_go_with_what_has_no_other() -> None:
    names = ("federatedai/nginx:try",)
    assert going(image("t1", *names), names=names) == {
        "federatedai/nginx:try": "its tag is gone",
        "localhost/fimg/image/nginx:t1": "superseded",
    }
    # What is used under another tag keeps its own.
    assert going(image("n4", *names, "federatedai/nginx:nightly"), names=names) == {names[0]: "its tag is gone"}
    assert going(image("t1", *names, "me/nginx:keep"), names=names) == {names[0]: "its tag is gone"}
    # Somebody else built it: only the name is ours.
    found = going(image("n2", *names), names=names, found=True)
    assert found == {names[0]: "its tag is gone"}
    # What somebody built on it inherits its labels, and may have taken the name.
    mine = StoredImage("sha256:mine", frozenset(names), "t1", "amd64")
    assert going(mine, names=names) == {}
    # Unless it is on record as one of ours, which lost its other name.
    assert going(mine, names=names, ids=("sha256:mine",)) == {names[0]: "its tag is gone"}
    # The name is somebody else's by now.
    assert going(image(None, *names), names=names) == {}


def test_bases_that_builds_do_not_stand_on_any_more_go() -> None:
    local = "localhost/fimg/base/debian:bookworm-slim-amd64"
    now = StoredImage("sha256:2", frozenset({local, f"{local}-sha256-bb"}))
    before = StoredImage("sha256:1", frozenset({f"{local}-sha256-aa"}))
    assert list(superseded_bases([now, before, image("n4")], [local])) == [f"{local}-sha256-aa"]


def test_old_runs_go_unless_something_on_record_hangs_on_them() -> None:
    assert old_runs({"old": 10.0, "kept": 10.0, "new": 60.0}, ["kept"], 50) == ["old"]
