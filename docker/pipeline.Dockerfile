# Three targets. `pipeline` runs every stage of dvc.yaml, on the CPU or, with --build-arg REQUIREMENTS=cuda, on NVIDIA
# GPUs. `airflow` runs scheduler, API and DAG processor. `worker` is both: a task of Airflow is a command of the pipeline.
FROM python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91 AS environment
ARG REQUIREMENTS=pipeline
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements/uv.txt .
RUN pip install --no-cache-dir --require-hashes -r uv.txt
COPY requirements/${REQUIREMENTS}.txt requirements.txt
RUN uv venv /opt/pipeline \
    && uv pip install --no-cache --python /opt/pipeline/bin/python --require-hashes -r requirements.txt

FROM python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91 AS pipeline
# DVC and the retraining work on git checkouts.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git=1:2.39.* \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 1000 --create-home pipeline && install --directory --owner=pipeline --group=pipeline /project
COPY --from=environment /opt/pipeline /opt/pipeline
ENV PATH=/opt/pipeline/bin:$PATH PYTHONUNBUFFERED=1 PIPELINE_PYTHON=/opt/pipeline/bin/python
USER 1000
WORKDIR /project
HEALTHCHECK --interval=60s --timeout=30s --start-period=30s CMD ["dvc", "--version"]
CMD ["dvc", "repro"]

FROM python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91 AS airflow-environment
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements/uv.txt .
RUN pip install --no-cache-dir --require-hashes -r uv.txt
COPY requirements/airflow.txt requirements.txt
RUN uv venv /opt/airflow \
    && uv pip install --no-cache --python /opt/airflow/bin/python --require-hashes -r requirements.txt

FROM python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91 AS airflow
RUN useradd --uid 1000 --create-home airflow && install --directory --owner=airflow --group=airflow /project /airflow
COPY --from=airflow-environment /opt/airflow /opt/airflow
COPY --chown=airflow:airflow dags /project/dags
ENV PATH=/opt/airflow/bin:$PATH PYTHONUNBUFFERED=1 AIRFLOW_HOME=/airflow
USER 1000
WORKDIR /project
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s CMD ["airflow", "db", "check"]
CMD ["airflow", "api-server"]

FROM pipeline AS worker
COPY --from=airflow-environment /opt/airflow /opt/airflow
COPY docker/worker.sh /usr/local/bin/worker
ENV AIRFLOW_HOME=/home/pipeline/airflow AIRFLOW__CORE__DAGS_FOLDER=/project/dags
HEALTHCHECK --interval=60s --timeout=30s --start-period=60s CMD ["/opt/airflow/bin/airflow", "db", "check"]
ENTRYPOINT ["worker"]
CMD ["training"]
