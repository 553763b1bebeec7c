# The studio on a CPU:
#   docker build -t stemweave --build-arg TORCH_INDEX=... .
#   (TORCH_INDEX: address of PyTorch's index of CPU builds, for an image without CUDA)
#   docker run -p 127.0.0.1:8000:8000 -v stemweave:/data -e STEMWEAVE_TOKEN=... stemweave
FROM python:3.11-slim

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

WORKDIR /app
# libraries first: they change less often than the package
COPY constraints.txt ./
ARG TORCH_INDEX=
RUN pip install ${TORCH_INDEX:+--index-url $TORCH_INDEX} torch==2.13.0
COPY pyproject.toml README.md LICENSE ./
COPY stemweave ./stemweave
RUN pip install -c constraints.txt '.[web]'

RUN useradd --system --uid 1000 stemweave && mkdir /data && chown stemweave /data
USER stemweave
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --start-period=60s CMD ["python", "-c", \
    "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/health', timeout=5)"]
# listens on all of the container's addresses, so it asks for STEMWEAVE_TOKEN
ENTRYPOINT ["stemweave", "serve", "--host", "0.0.0.0", "--data", "/data"]
