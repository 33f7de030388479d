FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends make libseccomp2 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 app \
    && install -d -o app -g app /app /data

USER app
WORKDIR /app

# An index that carries torch's CPU build makes the image several gigabytes smaller:
# docker build --build-arg PIP_EXTRA_INDEX_URL=... .
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1

# Before the code, so that a change of the code installs nothing again.
COPY --chown=app:app Makefile requirements.txt constraints.txt ./
COPY --chown=app:app scripts/setup scripts/
RUN make setup

COPY --chown=app:app . .

ENV QUANTCORE_DATA=/data
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD [".venv/bin/python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD [".venv/bin/python", "-m", "scripts.serve", "8501", "--host", "0.0.0.0"]
