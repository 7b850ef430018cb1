"""YAML as Kubernetes reads it: what else PyYAML would make of a text is text, or refused."""

from __future__ import annotations

import time

import pytest

from fimg_pipeline.kuscia.documents import DocumentError, load_all

BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{below}'] * 10)}]\n" for below, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 2024-01-01", {"a": "2024-01-01"}),
        ("a: 2024-13-01", {"a": "2024-13-01"}),
        ("a: [1, 1.5, true, null, x]", {"a": [1, 1.5, True, None, "x"]}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ('{"a": "party \\ud83d\\ude00"}', {"a": "party \U0001f600"}),
        ('{\n\t"a": [\t1]\n}', {"a": [1]}),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
    ],
)
def test_what_json_can_say(text: str, found: object) -> None:
    assert load_all(text) == [found]


#: Texts without quotes that not all readers of YAML take for the same, and what kubectl makes of them: a test on nodes
#: asks it.
SCALARS = {
    "12:30": "12:30",
    "1e3": 1000,
    "1.5e-3": 0.0015,
    "0o17": 15,
    "017": 15,
    "09": 9,
    "0x1F": 31,
    "0b101": 5,
    "1_000": 1000,
    "+7": 7,
    "-0x1": -1,
    "_1": "_1",
    "1.": 1,
    ".5": 0.5,
    ".": ".",
    "1.2.3": "1.2.3",
    "y": True,
    "Off": False,
    "oN": "oN",
    "~": None,
    "nULL": "nULL",
    "": None,
    "99999999999999999999": 1e20,
    "2024-01-01": "2024-01-01",
    "=": "=",
}


@pytest.mark.parametrize(("text", "found"), SCALARS.items())
def test_texts_without_quotes(text: str, found: object) -> None:
    ((value,),) = (document.values() for document in load_all(f"a: {text}"))
    assert value == found and type(value) is type(found)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: !!bool x", "can't be read"),
        ("a: &x {b: 1}\nc: {b: 2, <<: *x}", "a key is there, and comes from << as well"),
        ("a: &x {b: 1}\nc: {<<: *x, b: 2}", "a key is there, and comes from << as well"),
        ('a: "\\ud83d"', "half a character"),
        (f"a: &x {'x' * 1_000_000}\nb: [{', '.join(['*x'] * 10)}]", "more than 8388608 characters"),
        ("a: [", "no YAML"),
        ("a: !!timestamp foo", "no YAML"),
        ("a: !!binary Zm9v", "no YAML"),
        ("a: !!set {x}", "no YAML"),
        ("a: !!python/name:os.system", "no YAML"),
        ("a: !!int foo", "can't be read"),
        (f"a: {'9' * 5000}", "can't be read"),
        (f"a: {'9' * 400}", "can't be read"),
        (f"a: 0x{'f' * 400}", "can't be read"),
        ("? [a]\n: b", "no YAML"),
        ("a: .nan", "JSON can't say"),
        ("a: 1\na: 2", "a is there twice"),
        ("[" * 3000, "nested too deeply"),
        ("a: &a [*a]", "contains itself"),
        (BOMB, "more than 100000 parts"),
    ],
)
def test_what_is_refused_at_once(text: str, told: str) -> None:
    started = time.monotonic()
    with pytest.raises(DocumentError, match=told):
        load_all(text)
    assert time.monotonic() - started < 10


def test_a_tab_where_a_blank_has_to_be_is_named() -> None:
    with pytest.raises(DocumentError, match="no YAML") as refused:
        load_all("a:\tb")
    assert refused.value.hint == "between words YAML has blanks, here is a tab"
