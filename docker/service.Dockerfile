# The service: the champion behind POST /predict on port 3000. No TensorFlow, no training code, no data: of pipeline/ it
# holds what `bentoml build` packs (pyproject.toml; a test compares them).
ARG BASE=python:3.11.16-slim-bookworm@sha256:2e32f7d302adc1c37428355c1e646897c0c53f4fd60b6a551245fb90ee129f91
FROM ${BASE} AS environment
ENV UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1 UV_PYTHON_DOWNLOADS=never
WORKDIR /build
COPY requirements/uv.txt .
RUN pip install --no-cache-dir --require-hashes -r uv.txt
COPY requirements/serve.txt requirements.txt
RUN uv venv /opt/serve \
    && uv pip install --no-cache --python /opt/serve/bin/python --require-hashes -r requirements.txt

# Of the champions that git keeps, the one that answers.
FROM ${BASE} AS champion
WORKDIR /service
COPY models/CHAMPION models/promotions.jsonl models/
COPY models/champions models/champions
RUN find models/champions -mindepth 1 -maxdepth 1 ! -name "$(cat models/CHAMPION)" -exec rm -r {} +

FROM ${BASE}
LABEL org.opencontainers.image.title="pneumonia-radiographs/service" \
    org.opencontainers.image.description="Pneumonia in frontal chest radiographs of children: research software, not a medical device" \
    org.opencontainers.image.licenses="MIT"
RUN useradd --uid 1000 --create-home serve && install --directory --owner=serve --group=serve /service
COPY --from=environment /opt/serve /opt/serve
WORKDIR /service
COPY pyproject.toml params.yaml ./
COPY pipeline/__init__.py pipeline/command.py pipeline/errors.py pipeline/files.py pipeline/inference.py \
    pipeline/labels.py pipeline/old_names.py pipeline/outcomes.py pipeline/paths.py pipeline/schema.py pipeline/
COPY pipeline/data/__init__.py pipeline/data/imaging.py pipeline/data/
COPY pipeline/decoding pipeline/decoding
COPY pipeline/input_check/__init__.py pipeline/input_check/guard.py pipeline/input_check/rank_view.py pipeline/input_check/
COPY pipeline/registry/__init__.py pipeline/registry/contract.py pipeline/registry/verification.py pipeline/registry/
COPY pipeline/serving pipeline/serving
COPY --from=champion /service/models models
COPY metrics/explain/summary.json metrics/explain/
# BentoML makes its folder at every start: where a read-only container, or any user, may write.
ENV PATH=/opt/serve/bin:$PATH PYTHONUNBUFFERED=1 BENTOML_HOME=/tmp/bentoml
USER 1000
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=5s --start-period=180s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:3000/readyz', timeout=4)"]
# Inside the container the service listens on all addresses; compose.yaml publishes the port on loopback alone.
CMD ["bentoml", "serve", "--host", "0.0.0.0", "--port", "3000"]
