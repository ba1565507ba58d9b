# Three images, all without root and for a read-only root file system:
#
#   docker build --target gateway -t driftgate-gateway:0.1.0 .   the gateway, from locks/gateway.txt
#   docker build --target full -t driftgate-full:0.1.0 .         also vLLM (CPU) and retrieval, from locks/cpu.txt
#   docker build --target full --build-arg LOCK=cuda -t driftgate-cuda:0.1.0 .   the same with the CUDA vLLM
#
# Every Python package is checked against the hashes of its lock file; the lock files are for
# x86-64. Without --target the gateway is built.

ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore \
    UV_NO_CACHE=1 UV_PYTHON_DOWNLOADS=never UV_COMPILE_BYTECODE=1
WORKDIR /build
COPY locks/ locks/
RUN python -m pip install --require-hashes -r locks/uv.txt

FROM build AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY gateway/ gateway/
COPY monitoring/ monitoring/
COPY retrieval/ retrieval/
COPY training/ training/
RUN uv build --wheel --out-dir /wheel --build-constraint locks/cpu.txt --require-hashes .

FROM build AS gateway-packages
RUN python -m venv --without-pip /opt/driftgate \
    && uv pip install --python /opt/driftgate/bin/python --no-deps --require-hashes \
        -r locks/gateway.txt
COPY --from=wheel /wheel/ /wheel/
RUN uv pip install --python /opt/driftgate/bin/python --no-deps --no-index /wheel/*.whl

# This one keeps pip: `driftgate models pull` falls back on it where no hub can be reached.
FROM build AS full-packages
ARG LOCK=cpu
RUN python -m venv /opt/driftgate \
    && backend= \
    && if [ "$LOCK" = cpu ]; then backend=--torch-backend=cpu; fi \
    && uv pip install --python /opt/driftgate/bin/python --no-deps --require-hashes $backend \
        -r "locks/$LOCK.txt"
COPY --from=wheel /wheel/ /wheel/
RUN uv pip install --python /opt/driftgate/bin/python --no-deps --no-index /wheel/*.whl

FROM ${PYTHON} AS runtime
# Empty volumes take the owner of these folders.
RUN groupadd --gid 10001 driftgate \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin driftgate \
    && install -d -m 0700 -o driftgate -g driftgate \
        /data /data/run /data/models /data/logs /data/files /data/indexes /data/monitoring /data/spool \
        /data/signing
# HOME: the caches of libraries belong where the container may write.
ENV PATH=/opt/driftgate/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp DRIFTGATE_HOME=/data
WORKDIR /data
USER 10001:10001

FROM runtime AS full
# vLLM compiles kernels when it starts (C++) and links against libnuma.
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ libnuma1 \
    && rm -rf /var/lib/apt/lists/*
USER 10001:10001
COPY --from=full-packages /opt/driftgate/ /opt/driftgate/
CMD ["driftgate", "--help"]

FROM runtime AS gateway
COPY --from=gateway-packages /opt/driftgate/ /opt/driftgate/
EXPOSE 8080
CMD ["driftgate", "gateway"]
