#!/bin/sh
# Starts PostgreSQL; with an empty volume it makes the user and the database dagster first.
set -eu

if [ "$(id -u)" -eq 0 ]; then
    # Only root may read the secret, and PostgreSQL does not run as root.
    install -m 600 -o postgres /run/secrets/POSTGRES_PASSWORD /tmp/password
    install -d -m 700 -o postgres -g postgres "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --init-groups -- "$0" "$@"
fi

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    [ -s /tmp/password ] || { echo "secrets/POSTGRES_PASSWORD is empty" >&2; exit 1; }
    # Into a folder of its own: what a killed start left is no database.
    rm -rf "$PGDATA/new"
    # By the socket, which nobody else has, without a password: docker compose exec postgres pg_dump.
    initdb --pgdata="$PGDATA/new" --username=dagster --pwfile=/tmp/password --auth-local=trust \
        --auth-host=scram-sha-256 --encoding=UTF8 --locale=C.UTF-8 --no-instructions
    echo 'host all all samenet scram-sha-256' >> "$PGDATA/new/pg_hba.conf"
    echo 'CREATE DATABASE dagster' | postgres --single -D "$PGDATA/new" template1 > /dev/null
    # PG_VERSION comes last, and says that all is there.
    find "$PGDATA/new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
    mv "$PGDATA/new/PG_VERSION" "$PGDATA" && rmdir "$PGDATA/new"
fi
rm -f /tmp/password
exec postgres -c listen_addresses='*' "$@"
