"""A view's rendering and its stream see what the view itself sees: one organization."""

from uuid import UUID

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.template import TemplateDoesNotExist, engines
from django.template.response import TemplateResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.generic import ListView
from rest_framework.response import Response
from rest_framework.views import APIView

from tests.tenancy.state import state, tenant_state
from voxbilling.tenancy import finish_in_scope, tenant_scope, tenant_view
from wallets.models import Organization

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

NAMES = "{% for organization in organizations %}{{ organization.name }} {% endfor %}"
asked_as = []
streamed_as = []


def organization_of(request) -> UUID:
    """Stands in for signing in and membership, which are looked up outside the scope."""
    asked_as.append(state())
    if "organization" not in request.GET:
        raise PermissionDenied
    return UUID(request.GET["organization"])


def page(request):
    """A page whose rows are read when it is rendered."""
    template = engines["django"].from_string(NAMES)
    return TemplateResponse(request, template, {"organizations": Organization.objects.all()})


def page_in_a_scope_of_its_own(request):
    with tenant_scope(organization_of(request)):
        return page(request)


def names():
    try:
        for organization in Organization.objects.all():
            streamed_as.append(state())
            yield organization.name
            streamed_as.append(state())
            yield f" of {Organization.objects.count()} "
    finally:
        streamed_as.append("closed")


def stream(request):
    return StreamingHttpResponse(names())


def file(request):
    return FileResponse(names())


async def never():
    yield "never"


def asynchronous_stream(request):
    return StreamingHttpResponse(never())


def failing_page(request):
    return TemplateResponse(request, engines["django"].from_string("{% include missing %}"))


def plain(request):
    return HttpResponse(organization.name for organization in Organization.objects.all())


@method_decorator(tenant_view(organization_of), name="dispatch")
class Names(ListView):
    model = Organization

    def render_to_response(self, context, **kwargs):
        context["organizations"] = context["object_list"]
        template = engines["django"].from_string(NAMES)
        return TemplateResponse(self.request, template, context)


class Api(APIView):
    """Django REST framework asks who it is in `dispatch`, so the scope is opened after that."""

    permission_classes = ()

    def initial(self, request, *args, **kwargs):
        super().initial(request, *args, **kwargs)
        self.organization_id = organization_of(request)

    def get(self, request):
        return Response({"ids": Organization.objects.values_list("name", flat=True)})

    def finalize_response(self, request, response, *args, **kwargs):
        response = super().finalize_response(request, response, *args, **kwargs)
        return finish_in_scope(self.organization_id, response)


scoped = tenant_view(organization_of)
urlpatterns = [
    # What the page of a refusal leads to.
    path("", include("wallets.pages.urls")),
    path("page", scoped(page)),
    path("unguarded", page_in_a_scope_of_its_own),
    path("stream", scoped(stream)),
    path("file", scoped(file)),
    path("asynchronous", scoped(asynchronous_stream)),
    path("failing", scoped(failing_page)),
    path("plain", scoped(plain)),
    path("class", Names.as_view()),
    path("api", Api.as_view()),
]


@pytest.fixture
def get(client, ours, theirs):
    """Ask an address for our organization; everything outside the scope stays outside."""
    asked_as.clear()
    streamed_as.clear()
    outside = state()

    def ask(address):
        return client.get(address, {"organization": ours.id})

    yield ask
    assert set(asked_as) == {outside}
    assert state() == outside


@pytest.mark.parametrize("address", ["/page", "/class", "/plain"])
def test_given_a_page_that_forgets_its_filter_then_it_shows_ones_own(get, address):
    assert get(address).content.split() == [b"ours"]


def test_given_an_api_answer_that_is_read_when_rendered_then_it_shows_ones_own(get):
    assert get("/api").json() == {"ids": ["ours"]}


def test_given_a_page_that_is_rendered_after_its_scope_then_it_shows_everybody(get):
    """The control: without the decorator, the tests above would fail."""
    assert sorted(get("/unguarded").content.split()) == [b"ours", b"theirs"]


@pytest.mark.parametrize("address", ["/stream", "/file"])
def test_given_a_stream_then_each_chunk_is_made_in_the_scope(get, ours, address):
    assert get(address).getvalue() == b"ours of 1 "
    assert streamed_as == [tenant_state(ours.id)] * 2 + ["closed"]


@pytest.mark.django_db(transaction=True)
def test_given_a_slow_reader_then_no_transaction_waits_for_it(get, ours):
    outside = state()
    response = get("/stream")
    for chunk in response.streaming_content:
        assert chunk
        assert not connection.in_atomic_block
        assert state() == outside
    response.close()
    assert len(streamed_as) == 3


@pytest.mark.django_db(transaction=True)
def test_given_a_reader_that_goes_away_then_the_stream_is_closed_and_nothing_stays(get):
    response = get("/stream")
    next(iter(response.streaming_content))
    response.close()

    assert streamed_as[-1] == "closed"


def test_given_a_stream_that_cannot_be_read_in_a_scope_then_it_is_refused(get):
    with pytest.raises(TypeError, match="asynchronous stream"):
        get("/asynchronous")


def test_given_a_page_that_fails_to_render_then_nothing_stays(get):
    with pytest.raises(TemplateDoesNotExist):
        get("/failing")


def test_given_somebody_who_is_no_member_then_no_scope_is_opened(client, django_assert_num_queries):
    with django_assert_num_queries(1):  # of organization_of
        assert client.get("/page").status_code == 403
