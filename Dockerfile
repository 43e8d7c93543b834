# syntax=docker/dockerfile:1
# One image for web, the worker, beat and migrate. It brings no servers: those are named to it.
ARG PYTHON_IMAGE=python:3.11-slim-trixie

FROM ${PYTHON_IMAGE} AS packages
COPY requirements.txt .
RUN python -m venv /venv \
    && /venv/bin/python -m pip install --no-cache-dir --disable-pip-version-check \
        --only-binary :all: --require-hashes -r requirements.txt

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 10001 voxbilling \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent \
        --shell /usr/sbin/nologin voxbilling \
    && install --directory --owner voxbilling --group voxbilling --mode 0700 /var/lib/voxbilling
COPY --from=packages /venv /venv
ENV PATH=/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    DEBUG=false \
    VOXBILLING_DATA_DIR=/var/lib/voxbilling
WORKDIR /app
COPY . .
# Settings want to be complete. These values are for this one command, and stay in no layer's
# environment.
RUN SECRET_KEY=build ALLOWED_HOSTS=build DATABASE_URL=postgresql://build@127.0.0.1/build \
    REDIS_URL=redis://127.0.0.1/0 VAPI_API_KEY=build VAPI_WEBHOOK_SECRETS=build \
    TWILIO_ACCOUNT_SID=build TWILIO_AUTH_TOKEN=build STRIPE_SECRET_KEY=build \
    STRIPE_WEBHOOK_SECRET=build EMAIL_URL=smtp://127.0.0.1:9 \
    python manage.py collectstatic --noinput \
    && python -m compileall -q /app

USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python", "docker/healthcheck.py", "web"]
CMD ["python", "-m", "voxbilling.stack.web", "--host", "0.0.0.0", "--port", "8000"]
