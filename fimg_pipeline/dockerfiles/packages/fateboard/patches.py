#!/usr/bin/env python3
"""Patches for a front end some of whose dependencies are gone: ``patches.py FOLDER`` prints what it changed.

PATCHES says what is patched and why. A front end without such a dependency has nothing that is dead and is built as it
is; one that has it is patched to the last place, or the build ends here with what stands in the way.
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

SECTIONS = ("dependencies", "devDependencies", "optionalDependencies")
SOURCES = (".js", ".jsx", ".mjs", ".ts", ".vue")
STYLES = (".css", ".sass", ".scss", ".vue")
# Of a .vue file what styles are.
STYLE = re.compile(r"<style\b.*?</style>", re.DOTALL)
WHOLE = re.compile(r".+", re.DOTALL)
LOCKS = ("package-lock.json", "npm-shrinkwrap.json")


class PatchError(Exception):
    """A patch does not fit the front end."""


@dataclass(frozen=True)
class Patch:
    """``package`` is dropped, and ``instead`` (versions by name) put into its place.

    ``beside``: versions (their beginning) of packages that the patch is made for. ``pattern`` is written ``replacement``
    in all styles; nothing may import the package itself.
    """

    package: str
    reason: str
    instead: Optional[Mapping[str, str]] = None
    beside: Optional[Mapping[str, str]] = None
    pattern: str = ""
    replacement: str = ""


PATCHES = (
    Patch(
        "hmac_sha1",
        "it was removed from the npm registry, and nothing imports it; a package that takes the name later would be "
        "somebody else's code",
    ),
    Patch(
        "node-sass",
        "it downloads a binary from GitHub or compiles one with Python 2; sass compiles the same styles",
        instead={"sass": "1.32.13", "sass-loader": "7.3.1"},
        beside={"sass-loader": "7"},
        pattern="/deep/",
        replacement="::v-deep",
    ),
)


class FrontEnd:
    """A folder with a ``package.json`` and sources below ``src``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest: Dict[str, Any] = json.loads((folder / "package.json").read_text(encoding="utf-8"))

    def version(self, package: str) -> Optional[str]:
        """Which version of ``package`` is asked for, if it is."""
        for section in SECTIONS:
            if package in self.manifest.get(section, {}):
                return str(self.manifest[section][package])
        return None

    def files(self, *suffixes: str) -> List[Path]:
        """Files of the front end's own, by the endings of their names."""
        found = (path for path in self.folder.rglob("*") if path.suffix in suffixes and path.is_file())
        return sorted(path for path in found if not {"node_modules", "dist"} & set(path.relative_to(self.folder).parts))

    def importers(self, package: str) -> List[str]:
        """Sources that import `package`, or a part of it."""
        name = re.escape(package)
        statement = re.compile(
            rf"""(?m)^(?!\s*//).*(?:\bfrom|\brequire\s*\(|\bimport\b\s*\(?)\s*(?:/\*.*?\*/\s*)?['"]{name}(?:/[^'"]*)?['"]"""
        )
        return [
            str(path.relative_to(self.folder)) for path in self.files(*SOURCES) if statement.search(self.read(path))
        ]

    def read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="utf-8")
        except ValueError as error:
            raise PatchError(f"{path.relative_to(self.folder)} is not in UTF-8") from error

    def apply(self, patch: Patch) -> None:
        importers = self.importers(patch.package)
        if importers:
            raise PatchError(f"{patch.package} can't be had any more, and is imported by {', '.join(importers)}")
        for name, begins in (patch.beside or {}).items():
            version = self.version(name) or "none"
            if version.lstrip("^~=v").partition(".")[0] != begins:
                raise PatchError(f"the patch for {patch.package} is made for {name} {begins}, here it is {version}")
        for name in (patch.instead or {}).keys() - (patch.beside or {}).keys():
            if self.version(name) is not None:
                raise PatchError(f"the patch for {patch.package} adds {name}, and {self.version(name)} is asked for")
        styles = {path: self.read(path) for path in self.files(*STYLES)} if patch.pattern else {}
        restyled = {
            path: _restyled(text, patch, STYLE if path.suffix == ".vue" else WHOLE) for path, text in styles.items()
        }
        if patch.pattern and restyled == styles:
            raise PatchError(f"the patch for {patch.package} rewrites {patch.pattern!r} in styles, and it is in none")
        for section in SECTIONS:
            packages = self.manifest.get(section, {})
            dropped = packages.pop(patch.package, None) is not None
            for name, version in (patch.instead or {}).items():
                # What the package works with may be asked for in another section.
                if name in packages or (dropped and self.version(name) is None):
                    packages[name] = version
        for path, text in restyled.items():
            if text != styles[path]:
                path.write_text(text, encoding="utf-8")

    def save(self) -> None:
        (self.folder / "package.json").write_text(json.dumps(self.manifest, indent=2) + "\n", encoding="utf-8")
        for name in LOCKS:
            # Its pins are those of the unpatched manifest.
            if (self.folder / name).exists():
                (self.folder / name).unlink()


def _restyled(text: str, patch: Patch, styles: "re.Pattern[str]") -> str:
    return styles.sub(lambda found: found[0].replace(patch.pattern, patch.replacement), text)


def patch(folder: Path) -> List[str]:
    """Patches the front end in ``folder``; a line for each change."""
    front = FrontEnd(folder)
    applied = [found for found in PATCHES if front.version(found.package) is not None]
    for found in applied:
        front.apply(found)
    if applied:
        front.save()
    return [f"{found.package}: {found.reason}" for found in applied]


def main() -> int:
    try:
        for line in patch(Path(sys.argv[1])):
            print(f"fimg: front end patched: {line}")
    except PatchError as error:
        print(f"fimg: error: FATE-Board's front end can't be patched: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
