#!/bin/sh
# The champion as a bento and, with an engine, as a container image, both named after its version:
#
#   scripts/bento.sh [OPTIONS of `bentoml containerize`]     `--opt network=host`, ...
#
# BENTOML_HOME says where bentos are kept. A bento of the same version is replaced.
set -eu
cd "$(dirname "$0")/.."
export BENTOML_DO_NOT_TRACK=True
bin=${BENTO_BIN:-.venv-serve/bin}
version=$(cat models/CHAMPION)
commit=$(git rev-parse HEAD 2>/dev/null || echo unknown)
tag=pneumonia-radiographs:$version
"$bin/bentoml" delete --yes "$tag" >/dev/null 2>&1 || true
"$bin/bentoml" build --version "$version" --label "champion=$version" --label "commit=$commit"
if ! docker info >/dev/null 2>&1; then
    echo "bento: no Docker engine answers, so no image was made; later: bentoml containerize $tag" >&2
    exit 0
fi
"$bin/bentoml" containerize "$tag" "$@"
# BentoML makes a folder for itself at every start, by default in the user's home (and `envs` cannot say otherwise): the
# last layer puts it where a read-only container, or another user, may write.
docker build --quiet --tag "$tag" \
    --label "org.opencontainers.image.title=$tag" \
    --label "org.opencontainers.image.revision=$commit" \
    --label "org.opencontainers.image.licenses=MIT" - <<DOCKERFILE
FROM $tag
ENV BENTOML_HOME=/tmp/bentoml
DOCKERFILE
