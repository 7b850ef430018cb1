#!/usr/bin/env python3
"""Upgrades the database of a FATE deployment from one version to another.

Runs the scripts START-END.sql that lie between the two versions, oldest first, and stops at the first statement that
fails. MySQL can't undo changes of tables: make a backup first.
"""

import argparse
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple

Version = Tuple[int, ...]


class UpgradeError(Exception):
    """Something the user is told without a traceback."""


@dataclass(frozen=True)
class Script:
    """An SQL script and the versions it leads from and to."""

    path: Path
    start: Version
    end: Version


def parse_version(text: str) -> Version:
    """The version in texts such as `1.9.0`, `v1.9.0` and `1.9.0-release`; trailing zeros don't count."""
    found = re.fullmatch(r"v?(\d+(?:\.\d+)*)(?:-[A-Za-z][\w.-]*)?", text)
    if found is None:
        raise UpgradeError(f"{text!r} is not a version such as 1.9.0")
    numbers = [int(number) for number in found.group(1).split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


def find_scripts(folder: Path) -> List[Script]:
    """All upgrade scripts of a folder, oldest first."""
    if not folder.is_dir():
        raise UpgradeError(f"{folder}: no such folder; SQL_DIR says where the upgrade scripts are")
    scripts = []
    for path in folder.glob("*.sql"):
        start, separator, end = path.stem.partition("-")
        if not separator:
            raise UpgradeError(f"{path}: the name of an upgrade script is START-END.sql")
        scripts.append(Script(path, parse_version(start), parse_version(end)))
    return sorted(scripts, key=lambda script: (script.end, script.start))


def choose(scripts: Sequence[Script], start: Version, end: Version) -> List[Script]:
    """The scripts that take a database of version `start` to version `end`.

    A database of 1.10 has the tables of 1.9 if no script leads to 1.10, so a script counts by where it leads to.
    """
    if end < start:
        raise UpgradeError("the version to upgrade to is older than the one to upgrade from")
    if scripts and start < min(script.start for script in scripts):
        oldest = min(scripts, key=lambda script: script.start)
        raise UpgradeError(f"no script starts that early: the oldest is {oldest.path.name}")
    return [script for script in scripts if start < script.end <= end]


def statements(sql: str) -> Iterator[str]:
    """The statements of a script; understands comments, quotes and the client's DELIMITER command."""
    delimiter = ";"
    pending: List[str] = []
    position = 0
    at_line_start = True
    token = re.compile(
        r"""--(?=\s|$)[^\n]*|\#[^\n]*|/\*.*?\*/"""
        r"""|'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`[^`]*`""",
        re.DOTALL,
    )
    command = re.compile(r"[ \t]*DELIMITER[ \t]+(\S+)[ \t]*(?:\r?\n|\r|$)", re.IGNORECASE)
    while position < len(sql):
        if at_line_start and not "".join(pending).strip():
            found = command.match(sql, position)
            if found:
                delimiter = found.group(1)
                position = found.end()
                continue
        if sql.startswith(delimiter, position):
            statement = "".join(pending).strip()
            if statement:
                yield statement
            pending = []
            position += len(delimiter)
            at_line_start = False
            continue
        found = token.match(sql, position)
        text = found.group() if found else sql[position]
        comment = found is not None and text.startswith(("--", "#", "/*"))
        # Comments that start with /*! are code for MySQL.
        if not comment or text.startswith("/*!"):
            pending.append(text)
        position += len(text)
        at_line_start = text.endswith("\n") or (at_line_start and text.isspace())
    statement = "".join(pending).strip()
    if statement:
        yield statement


def run_script(connection: Any, script: Script) -> int:
    """Runs a script statement by statement, commits, and returns how many there were."""
    count = 0
    try:
        sql = script.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UpgradeError(f"{script.path}: {error}") from error
    for statement in statements(sql):
        count += 1
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                while cursor.nextset():
                    pass
        except Exception as error:
            connection.rollback()
            line = statement.splitlines()[0]
            raise UpgradeError(
                f"{script.path.name}: statement {count} failed ({line} ...): {_reason(error)}\n"
                "Statements before it have taken effect."
            ) from error
    connection.commit()
    return count


def _reason(error: Exception) -> str:
    if len(error.args) == 2:
        return f"MySQL error {error.args[0]}: {error.args[1]}"
    return str(error) or type(error).__name__


def connect(user: str, password: str) -> Any:
    """A connection as MYSQL_HOST, MYSQL_PORT and MYSQL_DATABASE say."""
    import pymysql

    host = os.environ.get("MYSQL_HOST", "mysql")
    port = os.environ.get("MYSQL_PORT", "3306")
    if port.startswith("tcp://"):
        # Not ours: Kubernetes tells every pod of a Service called mysql, which KubeFATE's chart has.
        port = os.environ.get("MYSQL_SERVICE_PORT", "3306")
    database = os.environ.get("MYSQL_DATABASE", "eggroll_meta")
    if not port.isdigit():
        raise UpgradeError(f"MYSQL_PORT: {port!r} is not a port number")
    try:
        return pymysql.connect(
            host=host, port=int(port), user=user, password=password, database=database, charset="utf8mb4"
        )
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise UpgradeError(f"database {database} on {host}:{port} as {user}: {_reason(error)}") from error


def upgrade(user: str, password: str, start: str, end: str) -> None:
    """Does the whole upgrade, telling what it does."""
    scripts = choose(
        find_scripts(Path(os.environ.get("SQL_DIR", "/sql"))), parse_version(start), parse_version(end)
    )
    if not scripts:
        print(f"The tables of {start} and {end} are the same: nothing to do.")
        return
    connection = connect(user, password)
    try:
        for script in scripts:
            count = run_script(connection, script)
            print(f"{script.path.name}: {count} statements done", flush=True)
    finally:
        connection.close()
    print(f"The database has been upgraded from {start} to {end}.")


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command: 0 when the upgrade is done, 1 when it is not, 2 for a wrong call."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="environment:\n"
        "  MYSQL_HOST      host of the database (mysql)\n"
        "  MYSQL_PORT      its port (3306)\n"
        "  MYSQL_DATABASE  name of the database (eggroll_meta)\n"
        "  SQL_DIR         folder of the scripts (/sql)",
    )
    parser.add_argument("user", metavar="USER", help="database user")
    parser.add_argument("password", metavar="PASSWORD", help="password of the user")
    parser.add_argument("start", metavar="START", help="version the deployment has, e.g. 1.9.0")
    parser.add_argument("end", metavar="END", help="version it is to have, e.g. 1.11.2")
    options = parser.parse_args(arguments)
    try:
        upgrade(options.user, options.password, options.start, options.end)
    except UpgradeError as error:
        print(f"upgrade-mysql: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
