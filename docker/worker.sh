#!/bin/sh
# A worker of Airflow with a checkout of its own: `worker QUEUES`, as in `worker default,training`.
# /source is the .git of the repository to work on, read-only; the checkout in /project follows its HEAD at every start.
set -eu
# Whoever owns it on the host: git takes nothing from another user's repository unasked.
git config --global --get-all safe.directory | grep -qxF /source || git config --global --add safe.directory /source
if [ ! -d /project/.git ]; then
    git clone --quiet --no-checkout /source /project
fi
git -C /project fetch --quiet origin HEAD
git -C /project checkout --quiet --detach FETCH_HEAD
cd /project
exec /opt/airflow/bin/airflow celery worker --queues "$1" --concurrency 1
