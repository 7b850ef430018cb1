"""What is wrong with a document that somebody wrote, in one line."""

from __future__ import annotations

import re
from typing import Final

from pydantic import ValidationError

#: In place of pydantic's words that speak of Python, by the kind of the error.
_WORDS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "model_type": "must be a mapping",
    "dict_type": "must be a mapping",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "string_too_short": "must not be empty",
    "bool_type": "must be true or false",
    "json_invalid": "is no JSON",
}
#: How most of pydantic's sentences begin: ``Input should be 1``.
_SHOULD: Final = re.compile(r"^[A-Z]\w* should ")


def first_problem(error: ValidationError) -> str:
    """The first thing that is wrong, behind where it is: ``app_images[0].mode is missing``."""
    first = error.errors()[0]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    words = str(first["ctx"]["error"]) if first["type"] == "value_error" else _WORDS.get(first["type"])
    if words is None:
        words, found = _SHOULD.subn("must ", first["msg"])
        words = words if found else f"can't be: {words}"
    return f"{where or 'it'} {words}"
