#!/bin/sh
# A worker of Airflow with a checkout of its own: `worker QUEUES`, as in `worker default,training`.
# /source is the repository to work on, read-only; the checkout in /project follows it at every start.
set -eu
for place in /source /source/.git; do # whoever owns it on the host: git takes nothing from another user's repository unasked
    git config --global --get-all safe.directory | grep -qxF "$place" || git config --global --add safe.directory "$place"
done
if [ ! -d /project/.git ]; then
    git clone --quiet /source /project
fi
git -C /project fetch --quiet origin
git -C /project checkout --quiet --detach origin/HEAD
cd /project
exec /opt/airflow/bin/airflow celery worker --queues "$1" --concurrency 1
