#!/bin/sh
# What the official image does with the same variables: a first start makes the database with a server that nobody else can reach.
set -eu
bin=$(echo /usr/lib/postgresql/*/bin)
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password
    "$bin/initdb" --username "$POSTGRES_USER" --pwfile /tmp/password --auth scram-sha-256 --no-sync >/dev/null
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    "$bin/pg_ctl" --wait --silent --options "-c listen_addresses=" start
    PGPASSWORD=$POSTGRES_PASSWORD "$bin/createdb" --username "$POSTGRES_USER" "${POSTGRES_DB:-$POSTGRES_USER}"
    "$bin/pg_ctl" --wait --silent --mode fast stop
fi
exec "$bin/postgres" -c listen_addresses='*' -c fsync=off
