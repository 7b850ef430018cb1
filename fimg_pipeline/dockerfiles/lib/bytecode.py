#!/usr/bin/env python3
"""Writes the byte code of the files that are named, checked against the source's hash.

Unlike `compileall` it tells a file that is not for this Python (templates, Python 2), which stays without, from byte
code that can't be written, which is an error. Needs nothing but Python 3.8.
"""

import py_compile
import sys
from typing import Sequence


def compile_files(paths: Sequence[str]) -> None:
    """Writes the byte code of each file that this Python understands.

    Raises:
        OSError: a file can't be read, or its byte code can't be written.
    """
    for path in paths:
        try:
            py_compile.compile(path, doraise=True, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)
        except py_compile.PyCompileError:
            continue


if __name__ == "__main__":
    try:
        compile_files(sys.argv[1:])
    except OSError as error:
        sys.exit(f"byte code can't be written: {error}")
