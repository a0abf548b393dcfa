# `make help` lists every command a person needs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
# DEVICE=cuda: an environment of its own with TensorFlow for NVIDIA GPUs, beside .venv, so that neither replaces the other.
DEVICE ?= cpu
$(if $(filter-out cpu cuda,$(DEVICE)),$(error DEVICE is cpu or cuda, not '$(DEVICE)'))
VENV := .venv$(if $(filter cuda,$(DEVICE)),-cuda)
BIN := $(VENV)/bin
RUN := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m
# What a caller hands over reaches a command through the environment, never through the shell's text; `set -f`: no file names.
.SHELLFLAGS := -f -c
export DO_NOT_TRACK = 1
export GX_ANALYTICS_ENABLED = False
export BENTOML_DO_NOT_TRACK = True
export TF_CPP_MIN_LOG_LEVEL ?= 2

# One environment: a virtual environment with exactly what the file of pinned versions and hashes names. `uv pip sync` also
# removes what the file no longer names. Where it fails, `uv pip install` is a second try that removes nothing, takes what is
# downloaded already, and prints what is wrong. uv itself, which the file does not name, is put back at the end.
# $(1) folder, $(2) file of pinned versions
define install
	@echo "==> $(1): every package of $(2), pinned and checked by hash (some minutes on a slow line)"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { echo "Python 3.11, 3.12 or 3.13 is needed; name one: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -m venv $(1)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@$(1)/bin/uv pip sync --quiet --python $(1)/bin/python --require-hashes $(2) || $(1)/bin/uv pip install --python $(1)/bin/python --require-hashes -r $(2)
	@$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt && touch $@
	@echo "==> $(1) is ready"
endef

.venv/.ready: requirements/dev.txt
	$(call install,.venv,requirements/dev.txt)

.venv-cuda/.ready: requirements/cuda.txt
	$(call install,.venv-cuda,requirements/cuda.txt)

.venv-airflow/.ready: requirements/airflow.txt
	$(call install,.venv-airflow,requirements/airflow.txt)

.venv-serve/.ready: requirements/serve.txt
	$(call install,.venv-serve,requirements/serve.txt)

##@ Start here
.PHONY: help demo test test-all setup
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready ## install the pipeline's environment into .venv; DEVICE=cuda: for NVIDIA GPUs, into .venv-cuda

demo: setup ## the whole pipeline on generated radiographs, in .work/demo; no download, no account
	@$(RUN) pipeline.commands.demo

test: setup .venv-airflow/.ready ## every test but the slow ones, JOBS=n processes at a time (two by default)
	@$(RUN) pytest -q -n "$${JOBS:-2}" -m "not slow and not containers"

test-all: setup .venv-airflow/.ready ## the slow ones too (about half an hour); containers: .venv/bin/python -m pytest -m containers
	@$(RUN) pytest -q -m "not containers"

##@ The study
.PHONY: repro study restore merge-runs keep-stress same-training documents track
repro: setup ## check, say how long, then `dvc repro`; SOURCE=<folder> takes the data set from disk
	@$(RUN) pipeline.commands.repro $(if $(SOURCE),--source "$$SOURCE")

study: setup ## the table of runs, JOBS=n at a time; RUNS="a b" for some of them; DEVICE=cuda on NVIDIA GPUs
	@$(RUN) pipeline.commands.study --jobs "$${JOBS:-1}" $$RUNS

restore: setup ## bring back the last good outputs after a stage failed; FORCE=1 gives up what is not committed
	@$(RUN) pipeline.commands.restore $(if $(FORCE),--force)

merge-runs: setup ## in a conflict of two branches that each added runs: dvc.lock and train.runs; TAKE=ours|theirs if both trained one
	@$(RUN) pipeline.commands.merge_runs $(if $(TAKE),--take "$$TAKE")

keep-stress: setup ## after a change of the stress families: runs whose networks are kept nowhere keep what they have
	@$(RUN) pipeline.commands.keep_stress

same-training: setup ## does the committed code train what BASE=<commit> did, bit by bit? then no run is trained again; CHECK=1 compares only
	@$(RUN) pipeline.commands.same_training "$$BASE" $$STAGES $(if $(CHECK),--check)

documents: setup ## write the measured numbers into README.md and docs/results.md
	@$(RUN) pipeline.reporting.markdown_blocks

track: setup ## publish the committed study to MLflow (sqlite:///mlflow.db, or MLFLOW_TRACKING_URI)
	@$(RUN) pipeline.tracking.publish

##@ The champion
.PHONY: gate promote rollback champion serve bento predict evaluate-site site-profile drift
gate: setup ## would the candidate become champion? validation patients only
	@$(RUN) pipeline.registry.gate

promote: setup ## gate the candidate and, if it passes, make it champion
	@$(RUN) pipeline.registry.champion promote

rollback: setup ## the champion before becomes champion again
	@$(RUN) pipeline.registry.champion rollback

champion: setup ## show the champion
	@$(RUN) pipeline.registry.champion show

serve: .venv-serve/.ready ## answer images on http://127.0.0.1:3000
	@PATH="$(CURDIR)/.venv-serve/bin:$$PATH" .venv-serve/bin/bentoml serve

bento: .venv-serve/.ready ## the champion as a bento and, with a Docker engine, as an image, both named after its version
	@scripts/bento.sh

predict: setup ## the champion on images without labels: SOURCE=<folder, zip or files> OUT=<csv>
	@$(RUN) pipeline.external_validation.predict --out "$$OUT" -- "$$SOURCE"

evaluate-site: setup ## the champion on labelled images: SOURCE=<folder> LABELS=<csv>; NAME=<word> keeps the metrics; RUNS="a b": those instead
	@$(RUN) pipeline.external_validation.$(if $(RUNS),compare_runs,evaluate) $(if $(NAME),--name "$$NAME") -- "$$SOURCE" "$$LABELS" $$RUNS

site-profile: setup ## the score read as a site's own labelled images want it: SOURCE=<folder> LABELS=<csv> NAME=<word>
	@$(RUN) pipeline.external_validation.site_profile --name "$$NAME" $(if $(SENSITIVITY),--sensitivity "$$SENSITIVITY") $(if $(SPECIFICITY),--specificity "$$SPECIFICITY") -- "$$SOURCE" "$$LABELS"

drift: setup ## compare the last answers of the service with its first, or its profile's; status 1 past the limit
	@$(RUN) pipeline.serving.drift

##@ Every week
.PHONY: airflow retrain metrics-gate
airflow: setup .venv-airflow/.ready ## Airflow on this machine, the DAG ready, a login printed
	@scripts/airflow.sh up

retrain: setup .venv-airflow/.ready ## one retraining through Airflow, on generated radiographs; PARAMS='{...}' for another
	@scripts/airflow.sh retrain $(if $(PARAMS),"$$PARAMS")

metrics-gate: setup ## may this change be merged into BASE? the champion's validation metrics decide
	@$(RUN) pipeline.ci.metrics_gate "$${BASE:-main}"

##@ Care
.PHONY: lint lock benchmarks clean
lint: setup ## ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lock: setup ## pin every environment anew, within the bounds of requirements/*.in
	@for name in uv dev airflow mlflow; do $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url requirements/$$name.in -o requirements/$$name.txt; done
	@for name in pipeline serve cuda; do $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url -c requirements/dev.txt requirements/$$name.in -o requirements/$$name.txt; done

# In this order: `nothing_changed` looks at what `demo` made; the documents are written when all is measured.
BENCHMARKS := demo nothing_changed preprocessing reader robustness gate_power input_check memory training evaluation saliency costs airflow serving serving_faults
WRITERS := scaling_document serving_document
benchmarks: setup .venv-airflow/.ready .venv-serve/.ready ## every benchmark beside its peer, then the documents; CXR_DATA=<folder> CXR_ORIGINALS=<folder> for real images
	@set -e; for name in $(BENCHMARKS) $(WRITERS); do echo "== $$name"; $(RUN) benchmarks.$$name; done
	@$(RUN) pipeline.reporting.markdown_blocks

.PHONY: import-runs
import-runs: # of 0.1.0; the line goes with the next release
	@echo "make import-runs is gone: another machine trains with plain DVC (docs/upgrading.md)" >&2; exit 2

clean: ## remove workspaces and half-done work; keeps data, networks and environments
	rm -rf .work/demo .work/same-training .cache
	@[ ! -d .work ] || find .work -maxdepth 1 -name 'test-*' -exec rm -rf {} +
