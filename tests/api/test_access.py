"""For which organization a request is, and who may do what there."""

import re
import uuid

import pytest
from django.urls import path
from rest_framework.response import Response

from tests.factories import MembershipFactory, OrganizationFactory, UserFactory, staff_of
from voxbilling.urls import urlpatterns as served
from wallets.api.base import OrganizationView, reads, spends, staff_only
from wallets.models import Organization, StaffAction

pytestmark = pytest.mark.django_db
WALLET = "/api/billing/wallet"
RESERVE = "/api/billing/reserve-credits"


class Kinds(OrganizationView):
    """One method of each kind."""

    @reads
    def get(self, request):
        return Response({"seen": [str(found.pk) for found in Organization.objects.all()]})

    @spends
    def post(self, request):
        return Response({"organization": str(self.access.organization_id), "sent": request.data})

    @staff_only
    def delete(self, request):
        return Response({"organization": str(self.access.organization_id)})


urlpatterns = [path("api/kinds", Kinds.as_view()), *served]
with_kinds = pytest.mark.urls(__name__)


@pytest.fixture
def elsewhere():
    return OrganizationFactory(name="elsewhere", funded_pence=777)


def test_given_one_membership_then_no_header_is_needed(ask, owner, viewer, organization):
    for person in (owner, viewer):
        assert ask("GET", WALLET, as_user=person).json()["balance_pence"] == 10_000
        named = ask("GET", WALLET, as_user=person, organization=organization)
        assert named.json()["balance_pence"] == 10_000


def test_given_several_memberships_then_one_must_be_named(ask, owner, organization, elsewhere):
    MembershipFactory(user=owner, organization=elsewhere, role="viewer")

    unnamed = ask("GET", WALLET, as_user=owner)

    assert unnamed.status_code == 400
    assert unnamed.json() == {
        "error": "You belong to several organizations: name one by its id, in the header X-Org-Id.",
        "code": "organization_not_named",
    }
    named = [
        ask("GET", WALLET, as_user=owner, organization=one) for one in (organization, elsewhere)
    ]
    assert [answer.json()["balance_pence"] for answer in named] == [10_000, 777]


def test_given_no_membership_then_it_is_refused(ask, organization):
    loner = UserFactory()

    refused = ask("GET", WALLET, as_user=loner)

    assert (refused.status_code, refused.json()["code"]) == (403, "not_a_member")
    assert ask("GET", WALLET, as_user=loner, organization=organization).status_code == 403


def test_given_staff_then_any_organization_may_be_named_and_one_must_be(
    ask, staff, organization, elsewhere
):
    MembershipFactory(user=staff, organization=organization)

    unnamed = ask("GET", WALLET, as_user=staff)

    assert (unnamed.status_code, unnamed.json()["code"]) == (400, "organization_not_named")
    assert ask("GET", WALLET, as_user=staff, organization=elsewhere).json()["balance_pence"] == 777


@pytest.mark.parametrize("person", ["owner", "staff"])
@pytest.mark.parametrize(
    "named",
    [
        "",
        " ",
        "1",
        "none",
        "{uuid}x",
        "x{uuid}",
        "{{{uuid}}}",
        "urn:uuid:{uuid}",
        "{hex}",
        "{uuid},{uuid}",
        "é" * 36,
    ],
)
def test_given_what_is_no_id_then_it_is_bad_input(ask, request, organization, person, named):
    user = request.getfixturevalue(person)
    header = named.format(uuid=organization.pk, hex=organization.pk.hex)

    refused = ask("GET", WALLET, as_user=user, organization=header)

    assert refused.status_code == 400
    assert refused.json()["code"] == "bad_input"
    assert "X-Org-Id must be an organization's UUID" in refused.json()["error"]


def test_given_an_id_in_capitals_then_it_is_the_same_id(ask, owner, organization):
    capitals = str(organization.pk).upper()

    assert ask("GET", WALLET, as_user=owner, organization=capitals).status_code == 200


def test_given_somebody_elses_organization_then_it_is_refused(ask, owner, elsewhere):
    refused = ask("GET", WALLET, as_user=owner, organization=elsewhere)

    assert (refused.status_code, refused.json()["code"]) == (403, "not_a_member")
    assert "elsewhere" not in refused.content.decode()


@pytest.mark.parametrize("person", ["owner", "staff"])
def test_given_an_unknown_organization_then_it_is_not_found(ask, request, person):
    unknown = uuid.uuid4()

    refused = ask("GET", WALLET, as_user=request.getfixturevalue(person), organization=unknown)

    assert refused.status_code == 404
    assert refused.json() == {
        "error": f"There is no organization {unknown}.",
        "code": "organization_unknown",
    }


def test_given_nobody_who_signed_in_then_nothing_is_said_of_organizations(ask, organization):
    for named in (None, organization, uuid.uuid4(), "nonsense"):
        refused = ask("GET", WALLET, organization=named)
        assert refused.status_code == 401
        assert refused.json()["code"] == "not_authenticated"
        assert refused["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "authorization", ["Bearer", "Bearer x", "Bearer a.b.c", "Bearer a b", "Basic YTpi", "Bearer é"]
)
def test_given_a_token_that_is_none_then_it_says_where_to_get_one(ask, organization, authorization):
    refused = ask("GET", WALLET, Authorization=authorization)

    assert refused.status_code == 401
    assert "token" in refused.json()["error"]


@with_kinds
@pytest.mark.parametrize(
    ("person", "allowed"),
    [("viewer", ["GET"]), ("owner", ["GET", "POST"]), ("staff", ["GET", "POST", "DELETE"])],
)
def test_given_each_kind_of_person_then_they_may_do_what_they_may(
    ask, request, organization, person, allowed
):
    user = request.getfixturevalue(person)

    for method in ("GET", "POST", "DELETE"):
        answer = ask(method, "/api/kinds", as_user=user, organization=organization, body={})
        assert answer.status_code == (200 if method in allowed else 403), method
        if answer.status_code == 403:
            assert answer.json()["code"] == (
                "staff_only" if method == "DELETE" else "may_only_read"
            )


@with_kinds
@pytest.mark.parametrize("group", ["support", "finance"])
def test_given_staff_without_the_permission_then_they_only_look(ask, organization, group):
    person = staff_of(group)

    statuses = [
        ask(method, "/api/kinds", as_user=person, organization=organization, body={}).status_code
        for method in ("GET", "DELETE", "POST")
    ]

    assert statuses == [200, 200, 403]
    refused = ask("POST", "/api/kinds", as_user=person, organization=organization, body={})
    assert refused.json() == {
        "error": "You may only look: staff of the group admin can do this.",
        "code": "may_only_read",
    }
    assert not StaffAction.objects.exists()


@with_kinds
def test_given_staff_of_no_group_then_they_see_nothing(ask, organization):
    person = UserFactory(is_staff=True)

    for method in ("GET", "DELETE", "POST"):
        refused = ask(method, "/api/kinds", as_user=person, organization=organization, body={})
        assert (refused.status_code, refused.json()["code"]) == (403, "not_a_member")
        assert "ask an administrator" in refused.json()["error"]


@with_kinds
def test_given_staff_who_act_for_a_customer_then_it_is_recorded(ask, staff, owner, organization):
    ask("GET", "/api/kinds", as_user=staff, organization=organization)
    ask("POST", "/api/kinds", as_user=owner, body={"amount": 5})
    assert not StaffAction.objects.exists()

    ask("POST", "/api/kinds", as_user=staff, organization=organization, body={"amount": 5})

    asked, done = StaffAction.objects.order_by("at")
    for record in (asked, done):
        assert (record.user, record.organization) == (staff, organization)
        assert record.asked == {"method": "POST", "path": "/api/kinds", "sent": '{"amount": 5}'}
        assert record.before["balance_pence"] == 10_000
    assert (asked.action, asked.after) == ("act for the customer", None)
    assert (done.action, done.after["balance_pence"]) == ("acted for the customer", 10_000)


@pytest.mark.django_db
def test_given_a_refused_purchase_by_staff_then_what_they_asked_for_is_recorded(ask, staff):
    poor = OrganizationFactory()

    refused = ask(
        "POST", RESERVE, as_user=staff, organization=poor, body={"callId": "x", "vapiCallId": None}
    )

    assert refused.status_code == 402
    assert "act for the customer" in StaffAction.objects.values_list("action", flat=True)


@with_kinds
def test_given_staff_who_were_made_customers_then_they_may_no_longer(ask, staff, organization):
    staff.is_staff = False
    staff.save()

    assert ask("GET", "/api/kinds", as_user=staff, organization=organization).status_code == 403


@with_kinds
def test_given_a_view_without_a_filter_then_it_sees_its_own_organization_only(
    ask, owner, staff, organization, elsewhere
):
    for person in (owner, staff):
        answer = ask("GET", "/api/kinds", as_user=person, organization=organization)
        assert answer.json() == {"seen": [str(organization.pk)]}


@with_kinds
def test_given_an_empty_form_then_it_is_an_empty_object(client, owner):
    from rest_framework_simplejwt.tokens import AccessToken

    answer = client.post(
        "/api/kinds",
        "",
        content_type="application/x-www-form-urlencoded",
        headers={"Authorization": f"Bearer {AccessToken.for_user(owner)}"},
    )

    assert answer.json()["sent"] == {}


@with_kinds
@pytest.mark.parametrize("method", ["PUT", "PATCH", "OPTIONS", "TRACE"])
def test_given_a_method_that_is_not_there_then_the_answer_names_those_that_are(ask, owner, method):
    refused = ask(method, "/api/kinds", as_user=owner)

    assert refused.status_code == 405
    assert refused.json()["code"] == "method_not_allowed"
    assert set(refused["Allow"].split(", ")) >= {"GET", "POST", "DELETE"}


def test_given_a_viewer_then_nothing_that_the_schema_names_can_be_changed(ask, viewer):
    """Also by endpoints that came after this test."""
    paths = ask("GET", "/api/schema/").json()["paths"]
    changes = [
        (method.upper(), address)
        for address, methods in paths.items()
        for method, operation in methods.items()
        if method in ("post", "put", "patch", "delete")
        and any(parameter["name"] == "X-Org-Id" for parameter in operation.get("parameters", []))
    ]

    assert changes
    for method, address in changes:
        address = re.sub(r"{\w+}", str(uuid.uuid4()), address)
        refused = ask(method, address, as_user=viewer, body={})
        assert (refused.status_code, refused.json()["code"]) == (403, "may_only_read"), address
