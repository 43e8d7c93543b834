"""Below /api/ everything is answered as JSON with `error` and `code`, also what goes wrong."""

import pytest
from django.db import IntegrityError, InterfaceError, OperationalError
from django.urls import path
from rest_framework.response import Response

from voxbilling.urls import handler400, handler500  # noqa: F401 (Django looks for them here)
from voxbilling.urls import urlpatterns as served
from wallets import selectors
from wallets.api.base import OrganizationView, reads
from wallets.models import Organization

WALLET = "/api/billing/wallet"


def raises(error):
    raise error


class Lazy(OrganizationView):
    """What it answers is only read from the database when it is rendered."""

    @reads
    def get(self, request):
        return Response({"names": Organization.objects.extra(where=["1 / 0 = 1"])})


def faulty(request):
    raise RuntimeError("a bug")


urlpatterns = [path("api/faulty", faulty), path("faulty", faulty), path("api/lazy", Lazy.as_view())]
urlpatterns += served
with_faults = pytest.mark.urls(__name__)


@pytest.mark.parametrize("debug", [True, False])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize(
    "address",
    [
        "/api/",
        "/api/nothing",
        "/api/billing/wallet/",
        "/api/billing/",
        "/api/auth/token",
        "/api/schema",
        "/api/%00",
        "/api/nothing\n",
        "/api//",
    ],
)
def test_given_an_unknown_address_then_the_answer_is_json(client, settings, debug, method, address):
    settings.DEBUG = debug

    answer = client.generic(method, address)

    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"
    assert "/api/docs/" in answer.json()["error"]


@pytest.mark.django_db
def test_given_an_unknown_page_then_it_is_djangos(client):
    answer = client.get("/nothing")

    assert answer.status_code == 404
    assert answer["Content-Type"].startswith("text/html")


@with_faults
@pytest.mark.parametrize(
    ("address", "kind"), [("/api/faulty", "application/json"), ("/faulty", "text/html")]
)
def test_given_a_fault_of_ours_then_programs_get_json_and_people_a_page(client, address, kind):
    client.raise_request_exception = False

    answer = client.get(address)

    assert answer.status_code == 500
    assert answer["Content-Type"].startswith(kind)
    assert b"a bug" not in answer.content
    if kind == "application/json":
        assert answer.json()["code"] == "server_error"


@with_faults
@pytest.mark.parametrize(
    ("address", "kind"), [(WALLET, "application/json"), ("/admin/", "text/html")]
)
def test_given_a_host_that_is_not_ours_then_programs_get_json_and_people_a_page(
    client, address, kind
):
    answer = client.get(address, headers={"Host": "elsewhere.example"})

    assert answer.status_code == 400
    assert answer["Content-Type"].startswith(kind)


@pytest.mark.django_db
@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_given_no_database_then_it_is_worth_sending_again(ask, owner, monkeypatch, error):
    monkeypatch.setattr(selectors, "wallet", lambda _: raises(error("the server is gone")))

    answer = ask("GET", WALLET, as_user=owner)

    assert answer.status_code == 503
    assert answer["Retry-After"] == "5"
    assert answer.json() == {
        "error": "The database is not available; send this again.",
        "code": "unavailable",
    }


@pytest.mark.django_db
def test_given_a_mistake_in_a_query_then_it_is_not_worth_sending_again(
    ask, client, owner, monkeypatch
):
    client.raise_request_exception = False
    monkeypatch.setattr(selectors, "wallet", lambda _: raises(IntegrityError("a bug")))

    answer = ask("GET", WALLET, as_user=owner)

    assert (answer.status_code, answer.json()["code"]) == (500, "server_error")


@pytest.mark.django_db
def test_given_a_database_that_goes_away_for_good_then_the_refusal_needs_none(
    ask, owner, monkeypatch
):
    """The scope of the read is over; opening it again to render the refusal would fail, too."""
    from voxbilling import tenancy
    from wallets.api import base

    def scope_that_cannot_open(_organization_id):
        raise OperationalError("the server is gone")

    monkeypatch.setattr(base, "tenant_scope", scope_that_cannot_open)
    monkeypatch.setattr(tenancy, "tenant_scope", scope_that_cannot_open)

    assert ask("GET", WALLET, as_user=owner).status_code == 503


@with_faults
@pytest.mark.django_db
def test_given_an_answer_that_cannot_be_rendered_then_the_refusal_is_rendered_outside_its_scope(
    ask, client, owner
):
    client.raise_request_exception = False

    answer = ask("GET", "/api/lazy", as_user=owner)

    assert (answer.status_code, answer.json()["code"]) == (500, "server_error")
    assert ask("GET", WALLET, as_user=owner).status_code == 200
