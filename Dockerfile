# The service in a container: not root, nothing written, every package pinned and hashed.
# Build: docker build -t todo-chat-backend .
FROM python:3.13-slim-bookworm AS build
WORKDIR /srv
COPY requirements.txt requirements-redis.txt requirements-otel.txt ./
RUN python -m venv /opt/service \
    && /opt/service/bin/python -m pip install --no-cache-dir --require-hashes \
        -r requirements.txt -r requirements-redis.txt -r requirements-otel.txt
COPY backend backend
RUN python -m compileall -q backend

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin service
COPY --from=build /opt/service /opt/service
COPY --from=build /srv/backend /srv/backend
WORKDIR /srv
USER 10001
ENV PATH=/opt/service/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 HOST=0.0.0.0 PORT=8000
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --start-interval=1s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=2)"]
CMD ["python", "-m", "backend"]
