"""YAML as Kubernetes reads it: what JSON can say and nothing else, of a size that somebody wrote by hand."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Hashable
from typing import Any, Final

import yaml

from fimg_pipeline.errors import FimgError

#: Parts of a document with its aliases written out. Nine lines of aliases to aliases are a billion.
_MOST_PARTS: Final = 100_000
#: Characters of all texts in it, likewise.
_MOST_TEXT: Final = 8 << 20
_TAG: Final = "tag:yaml.org,2002:"
_TAGS: Final = tuple(f"{_TAG}{name}" for name in ("null", "str", "seq", "map"))


class DocumentError(FimgError):
    """A text that is no YAML, or says what JSON can't."""


#: What a text without quotes is, as Kubernetes' reader of YAML has it (sigs.k8s.io/yaml, go-yaml v2): PyYAML goes by
#: YAML 1.1, where 12:30 is a number of seconds and 1e3 is text.
_BOOLEANS: Final = {
    spelt: value
    for words, value in (("y yes true on", True), ("n no false off", False))
    for word in words.split()
    for spelt in (word, word.capitalize(), word.upper())
}
_NULL: Final = re.compile(r"~|null|Null|NULL|")
_INTEGER: Final = re.compile(r"[-+]?(?:0[bB][01_]+|0[xX][0-9a-fA-F_]+|0[oO]?[0-7_]+|[1-9][0-9_]*|0)")
_NUMBER: Final = re.compile(
    r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
#: Larger numbers are no whole ones to JSON's readers.
_WHOLE: Final = 2.0**53


class _Loader(yaml.SafeLoader):
    """Knows no dates (they are text, as to Kubernetes) nor other types of its own, and no key that is there twice."""

    # None: what is none of them is refused.
    yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (*_TAGS, None)}  # noqa: RUF012
    yaml_implicit_resolvers = {  # noqa: RUF012
        None: [
            (f"{_TAG}merge", re.compile(r"<<$")),
            (f"{_TAG}bool", re.compile(rf"(?:{'|'.join(_BOOLEANS)})$")),
            *(
                (f"{_TAG}{name}", re.compile(rf"(?:{pattern.pattern})$"))
                for name, pattern in (("null", _NULL), ("int", _INTEGER), ("float", _NUMBER))
            ),
        ]
    }

    def construct_boolean(self, node: yaml.ScalarNode) -> bool:
        text = str(self.construct_scalar(node))
        if text not in _BOOLEANS:
            raise ValueError(f"{text!r} is no boolean")
        return _BOOLEANS[text]

    def construct_integer(self, node: yaml.ScalarNode) -> int | float:
        text = str(self.construct_scalar(node)).replace("_", "")
        # 017 is octal, which Python writes 0o17.
        found = int(re.sub(r"^([-+]?0)(?=[0-7])", r"\1o", text), 0)
        return found if -(1 << 63) <= found < 1 << 64 else float(found)

    def construct_number(self, node: yaml.ScalarNode) -> int | float:
        text = str(self.construct_scalar(node)).replace("_", "").lower()
        found = float(text.replace(".inf", "inf").replace(".nan", "nan"))
        return int(found) if found.is_integer() and abs(found) < _WHOLE else found

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        merged = any(key.tag == f"{_TAG}merge" for key, _ in node.value)
        found = super().construct_mapping(node, deep)
        if merged and len({key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)}) < len(node.value):
            # To YAML 1.1 the key that stands there counts, to kubectl whichever comes last.
            raise yaml.constructor.ConstructorError(
                None, None, "a key is there, and comes from << as well", node.start_mark
            )
        return found


_Loader.add_constructor(f"{_TAG}bool", _Loader.construct_boolean)
_Loader.add_constructor(f"{_TAG}int", _Loader.construct_integer)
_Loader.add_constructor(f"{_TAG}float", _Loader.construct_number)


def load_all(text: str) -> list[Any]:
    """The documents of ``text``, each with its aliases written out; raises :class:`DocumentError`."""
    left, text_left = _MOST_PARTS, _MOST_TEXT

    def written_out(value: Any) -> Any:
        nonlocal left, text_left
        left -= 1
        if left < 0:
            raise DocumentError(f"it has more than {_MOST_PARTS} parts, aliases written out")
        if isinstance(value, str):
            text_left -= len(value)
            if text_left < 0:
                raise DocumentError(f"it has more than {_MOST_TEXT} characters, aliases written out")
            return _whole(value)
        if isinstance(value, dict):
            return {written_out(key): written_out(part) for key, part in value.items()}
        if isinstance(value, list):
            return [written_out(part) for part in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise DocumentError(f"it has a number that JSON can't say: {value}")
        return value

    try:
        return [written_out(document) for document in yaml.load_all(spaced(text), Loader=_Loader)]
    except yaml.YAMLError as error:
        tab = "\\t" in str(error) or "\t" in str(error)
        hint = "between words YAML has blanks, here is a tab" if tab else None
        raise DocumentError(f"it is no YAML: {' '.join(str(error).split())}", hint=hint) from None
    except (ValueError, TypeError, OverflowError) as error:
        # Numbers of hundreds of digits, keys that are lists.
        raise DocumentError(f"it has a value that can't be read: {str(error)[:120]}") from None
    except RecursionError:
        raise DocumentError("a part of it contains itself (anchors, aliases), or it is nested too deeply") from None


def spaced(text: str) -> str:
    """JSON may have tabs between its parts, where YAML may not; in its strings it has none. Positions stay."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text.replace("\t", " ")


def _whole(text: str) -> str:
    """``text`` with characters that JSON writes as two escapes put together; half of one is no text."""
    if text.isascii():
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise DocumentError("it has half a character (\\ud800 to \\udfff)") from None
