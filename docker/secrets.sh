#!/bin/sh
# Prints docker/example.env with a random value in every secret: docker/secrets.sh > docker/.env
set -eu
umask 077
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
fernet() { head -c 32 /dev/urandom | base64 | tr '+/' '-_'; }
while IFS= read -r line; do
    case $line in
    AIRFLOW_FERNET_KEY=) echo "$line$(fernet)" ;;
    *_PASSWORD= | *_SECRET= | *_KEY=) echo "$line$(random)" ;;
    *) echo "$line" ;;
    esac
done <"$(dirname "$0")/example.env"
