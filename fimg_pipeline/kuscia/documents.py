"""YAML as Kubernetes reads it: what JSON can say and nothing else, of a size that somebody wrote by hand."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Any, Final

import yaml

from fimg_pipeline.errors import FimgError

#: Parts of a document with its aliases written out. Nine lines of aliases to aliases are a billion.
_MOST_PARTS: Final = 100_000
_TAGS: Final = tuple(f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map"))


class DocumentError(FimgError):
    """A text that is no YAML, or says what JSON can't."""


class _Loader(yaml.SafeLoader):
    """Knows no dates (they are text, as to Kubernetes) nor other types of its own, and no key that is there twice."""

    # None: what is none of them is refused.
    yaml_constructors = {tag: yaml.SafeLoader.yaml_constructors[tag] for tag in (*_TAGS, None)}  # noqa: RUF012
    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def load_all(text: str) -> list[Any]:
    """The documents of ``text``, each with its aliases written out; raises :class:`DocumentError`."""
    left = _MOST_PARTS

    def written_out(value: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise DocumentError(f"it has more than {_MOST_PARTS} parts, aliases written out")
        if isinstance(value, dict):
            return {key: written_out(part) for key, part in value.items()}
        if isinstance(value, list):
            return [written_out(part) for part in value]
        if isinstance(value, float) and not math.isfinite(value):
            raise DocumentError(f"it has a number that JSON can't say: {value}")
        return value

    try:
        return [written_out(document) for document in yaml.load_all(text, Loader=_Loader)]
    except yaml.YAMLError as error:
        raise DocumentError(f"it is no YAML: {' '.join(str(error).split())}") from None
    except (ValueError, TypeError) as error:
        # Numbers of thousands of digits, keys that are lists.
        raise DocumentError(f"it has a value that can't be read: {str(error)[:120]}") from None
    except RecursionError:
        raise DocumentError("a part of it contains itself (anchors, aliases), or it is nested too deeply") from None
