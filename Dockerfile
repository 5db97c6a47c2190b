# Two images. `base` runs the command line: edits, promotions, events. `serve` answers requests over HTTP.
#   docker build --target base -t raie .
#   docker build --target serve -t raie-serve .
# Neither holds a secret: URLs, tokens and keys come from the environment or from mounted files when a container starts.
ARG PYTHON=3.12

FROM python:${PYTHON}-slim AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY raie raie
COPY registry registry
COPY raie_engine raie_engine
COPY migrations migrations
COPY cli cli
RUN python -m venv /opt/raie
# A mirror or an index of your own comes as a secret, `--secret id=pip,src=pip.conf`, and stays in no layer.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/raie/bin/pip install --no-cache-dir -c constraints.txt '.[engine,mlflow,postgres,s3]'

FROM build AS build-serve
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /opt/raie/bin/pip install --no-cache-dir -c constraints.txt '.[engine,mlflow,postgres,s3,serve]'

# What both images have in common: no root, and a folder for raie.toml.
FROM python:${PYTHON}-slim AS common
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin raie \
    && install --directory --owner raie --group raie /workspace
ENV PATH=/opt/raie/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    RAIE_WORKSPACE=/workspace
USER 10001
WORKDIR /workspace
ENTRYPOINT ["raie"]

FROM common AS serve
COPY --from=build-serve /opt/raie /opt/raie
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
CMD ["serve", "--alias", "production", "--host", "0.0.0.0", "--port", "8000"]

FROM common AS base
COPY --from=build /opt/raie /opt/raie
CMD ["--help"]
