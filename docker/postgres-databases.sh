#!/bin/sh
# Runs once, when the database is new: a user with a password of its own and a database each for Airflow and MLflow.
set -eu
create() { # name, password
    psql --set=ON_ERROR_STOP=1 --username "$POSTGRES_USER" --set=name="$1" --set=password="$2" <<'SQL'
CREATE USER :"name" PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
SQL
}
create airflow "$AIRFLOW_DATABASE_PASSWORD"
create mlflow "$MLFLOW_DATABASE_PASSWORD"
