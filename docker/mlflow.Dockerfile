# The MLflow tracking server: SQLite in /data by default, PostgreSQL and S3 by MLFLOW_BACKEND_STORE_URI and
# MLFLOW_ARTIFACTS_DESTINATION; with a login where the command adds `--app-name basic-auth` (docker/compose.yaml, `full`).
ARG BASE=python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91
FROM ${BASE} AS environment
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements/uv.txt .
RUN pip install --no-cache-dir --require-hashes -r uv.txt
COPY requirements/mlflow.txt requirements.txt
RUN uv venv /opt/mlflow \
    && uv pip install --no-cache --python /opt/mlflow/bin/python --require-hashes -r requirements.txt

FROM ${BASE}
LABEL org.opencontainers.image.title="pneumonia-radiographs/mlflow" \
    org.opencontainers.image.description="The MLflow tracking server of the study" \
    org.opencontainers.image.licenses="MIT"
RUN useradd --uid 1000 --create-home mlflow && install --directory --owner=mlflow --group=mlflow /data
COPY --from=environment /opt/mlflow /opt/mlflow
COPY docker/mlflow-auth.ini /etc/mlflow/basic_auth.ini
ENV PATH=/opt/mlflow/bin:$PATH PYTHONUNBUFFERED=1 \
    MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false \
    MLFLOW_BACKEND_STORE_URI=sqlite:////data/mlflow.db \
    MLFLOW_ARTIFACTS_DESTINATION=/data/artifacts
USER 1000
WORKDIR /data
VOLUME /data
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=5s --start-period=180s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:5000/health', timeout=4)"]
CMD ["mlflow", "server", "--host", "0.0.0.0", "--port", "5000", "--workers", "2"]
