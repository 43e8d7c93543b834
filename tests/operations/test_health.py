"""Liveness and readiness."""

import pytest
from celery import Celery
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder

from voxbilling.operations import health

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def forget_that_migrations_were_applied():
    health._all_migrations_applied.cache_clear()


def test_ready_when_everything_is_there(client):
    response = client.get("/readyz")
    assert (response.status_code, response.json()["status"]) == (200, "ok")


def test_not_ready_without_a_broker_but_alive(client, monkeypatch):
    monkeypatch.setattr(health, "app", Celery(broker="redis://127.0.0.1:9/0"))
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"]["broker"] == "unreachable"
    assert response["Retry-After"]
    assert client.get("/healthz").status_code == 200


def test_not_ready_while_a_migration_is_missing_and_ready_after_it(client):
    recorder = MigrationRecorder(connection)
    [newest] = MigrationLoader(connection).graph.leaf_nodes("webhooks")
    recorder.record_unapplied(*newest)
    response = client.get("/readyz")
    assert (response.status_code, response.json()["checks"]["migrations"]) == (503, "missing")

    recorder.record_applied(*newest)
    assert client.get("/readyz").status_code == 200


def test_not_ready_without_a_database(client, monkeypatch):
    def unreachable():
        from django.db import OperationalError

        raise OperationalError("the connection is closed")

    monkeypatch.setattr(health.connection, "cursor", unreachable)
    response = client.get("/readyz")
    assert response.status_code == 503
    assert response.json()["checks"] == {
        "database": "unreachable",
        "broker": "ok",
        "migrations": "unknown",
    }


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_probe_asks_by_address_and_over_plain_http(client, settings, path):
    settings.ALLOWED_HOSTS = ["billing.example.com"]
    settings.SECURE_SSL_REDIRECT = True
    assert client.get(path, headers={"host": "10.0.0.7"}).status_code == 200
    assert client.get("/admin/", headers={"host": "10.0.0.7"}).status_code == 400
    assert client.head(path).status_code == 200
    assert client.post(path).status_code == 405
