#!/bin/sh
# Stands in for the shell of DVC while `gather_runs` runs: called as `no_training.sh -c 'python -m pipeline.stages.train RUN'`.
echo "train: ${2##* } is neither in this workspace nor in the run cache, and is not trained here: clear its task" >&2
exit 1
