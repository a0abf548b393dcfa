#!/bin/sh
# Runs once, when the database is empty: a user and a database each for Airflow and MLflow.
set -eu
for name in airflow mlflow; do
    psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --set=name="$name" --set=password="$POSTGRES_PASSWORD" <<'SQL'
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
done
