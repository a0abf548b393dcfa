# Three targets. `pipeline` runs every stage of dvc.yaml, on the CPU or, with --build-arg REQUIREMENTS=cuda, on NVIDIA
# GPUs. `airflow` runs scheduler, API and DAG processor. `worker` is both: a task of Airflow is a command of the pipeline.
ARG BASE=python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91
FROM ${BASE} AS airflow-environment
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements/uv.txt .
RUN pip install --no-cache-dir --require-hashes -r uv.txt
COPY requirements/airflow.txt requirements.txt
RUN uv venv /opt/airflow \
    && uv pip install --no-cache --python /opt/airflow/bin/python --require-hashes -r requirements.txt

FROM ${BASE} AS airflow
LABEL org.opencontainers.image.title="pneumonia-radiographs/airflow" \
    org.opencontainers.image.description="Scheduler, page and DAG processor of the retraining" \
    org.opencontainers.image.licenses="MIT"
# An empty airflow.cfg: without one Airflow writes a file with keys that it makes up. All settings are in the environment.
RUN useradd --uid 1000 --create-home airflow \
    && install --directory --owner=airflow --group=airflow /project /airflow \
    && install --owner=airflow --group=airflow --mode=600 /dev/null /airflow/airflow.cfg
COPY --from=airflow-environment /opt/airflow /opt/airflow
COPY --chown=airflow:airflow dags /project/dags
ENV PATH=/opt/airflow/bin:$PATH PYTHONUNBUFFERED=1 AIRFLOW_HOME=/airflow
USER 1000
WORKDIR /project
# Of the page; compose.yaml asks the scheduler and the DAG processor for theirs.
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8080/api/v2/monitor/health', timeout=4)"]
CMD ["airflow", "api-server"]

FROM ${BASE} AS environment
ARG REQUIREMENTS=pipeline
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements/uv.txt .
RUN pip install --no-cache-dir --require-hashes -r uv.txt
COPY requirements/${REQUIREMENTS}.txt requirements.txt
RUN uv venv /opt/pipeline \
    && uv pip install --no-cache --python /opt/pipeline/bin/python --require-hashes -r requirements.txt

FROM ${BASE} AS pipeline
# DVC and the retraining work on git checkouts.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git=1:2.39.* \
    && rm -rf /var/lib/apt/lists/*
LABEL org.opencontainers.image.title="pneumonia-radiographs/pipeline" \
    org.opencontainers.image.description="Every stage of the study, on one machine or as a worker of Airflow" \
    org.opencontainers.image.licenses="MIT"
RUN useradd --uid 1000 --create-home pipeline && install --directory --owner=pipeline --group=pipeline /project
COPY --from=environment /opt/pipeline /opt/pipeline
ENV PATH=/opt/pipeline/bin:$PATH PYTHONUNBUFFERED=1 PIPELINE_PYTHON=/opt/pipeline/bin/python
USER 1000
WORKDIR /project
# Its command ends: the exit status says how it went.
HEALTHCHECK NONE
CMD ["dvc", "repro"]

FROM pipeline AS worker
COPY --from=airflow-environment /opt/airflow /opt/airflow
COPY docker/worker.sh /usr/local/bin/worker
RUN install --directory /home/pipeline/airflow && install --mode=600 /dev/null /home/pipeline/airflow/airflow.cfg
ENV AIRFLOW_HOME=/home/pipeline/airflow AIRFLOW__CORE__DAGS_FOLDER=/project/dags
# The worker itself must answer, through the broker.
HEALTHCHECK --interval=60s --timeout=45s --start-period=180s \
    CMD ["sh", "-c", "exec /opt/airflow/bin/celery --quiet --app airflow.providers.celery.executors.celery_executor.app inspect ping --timeout 10 --destination \"celery@$(hostname)\""]
ENTRYPOINT ["worker"]
CMD ["training"]
