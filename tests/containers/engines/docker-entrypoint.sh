#!/bin/sh
# What the script of this name does in PostgreSQL's own image at a first start, as far as docker/compose.yaml relies on it.
set -eu
data=/var/lib/postgresql/data
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
if [ ! -s "$data/PG_VERSION" ]; then
    install --directory --owner=postgres --mode=700 "$data"
    password=$(mktemp)
    echo "$POSTGRES_PASSWORD" >"$password"
    chown postgres "$password"
    runuser -u postgres -- initdb --pgdata "$data" --encoding UTF8 --locale C.UTF-8 --username "$POSTGRES_USER" \
        --pwfile "$password" --auth-host scram-sha-256 --auth-local trust
    rm "$password"
    echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
    runuser -u postgres -- pg_ctl --pgdata "$data" --wait -o "-c listen_addresses=''" start
    for script in /docker-entrypoint-initdb.d/*.sh; do
        runuser -u postgres -- "$script"
    done
    runuser -u postgres -- pg_ctl --pgdata "$data" --wait --mode fast stop
fi
exec runuser -u postgres -- postgres -D "$data" -c listen_addresses='*'
