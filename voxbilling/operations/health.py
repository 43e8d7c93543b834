"""Liveness, readiness and metrics, for load balancers, orchestrators and Prometheus.

They ask over plain HTTP and by IP address, so they are answered before anything looks at the host's
name or sends them to HTTPS.
"""

from functools import cache

from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.deprecation import MiddlewareMixin
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError as BrokerError

from voxbilling.celery import app
from voxbilling.operations.metrics import metrics


@require_safe
def healthz(_request: HttpRequest) -> HttpResponse:
    """Whether this process answers; asks nothing of other servers."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(_request: HttpRequest) -> HttpResponse:
    """Whether this process can do its work: database, broker, and no migration missing."""
    checks = {"database": _database(), "broker": broker()}
    checks["migrations"] = _migrations() if checks["database"] == "ok" else "unknown"
    ready = all(result == "ok" for result in checks.values())
    response = JsonResponse(
        {"status": "ok" if ready else "unavailable", "checks": checks},
        status=200 if ready else 503,
    )
    if not ready:
        response["Retry-After"] = "5"
    return response


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "unreachable"
    return "ok"


def broker() -> str:
    """`ok`, or `unreachable`."""
    try:
        with app.connection_for_write() as broker:
            broker.ensure_connection(max_retries=1, timeout=2)
    except (BrokerError, OSError):
        return "unreachable"
    return "ok"


def _migrations() -> str:
    try:
        return "ok" if _all_migrations_applied() else "missing"
    except LookupError:
        return "missing"


@cache
def _all_migrations_applied() -> bool:
    """Raises LookupError, which is not cached, while any is missing: applied ones stay applied."""
    if missing_migrations():
        raise LookupError("migrations are missing")
    return True


def missing_migrations() -> list[str]:
    """The migrations that this version has and the database has not, in their order."""
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    return [f"{migration}" for migration, _ in plan]


HEALTH_CHECKS = {"/healthz": healthz, "/readyz": readyz, "/metrics": metrics}


class HealthMiddleware(MiddlewareMixin):
    """Answers the health checks; everything else goes on."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        check = HEALTH_CHECKS.get(request.path)
        return check(request) if check else None
