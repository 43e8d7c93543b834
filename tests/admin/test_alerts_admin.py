"""Staff set who gets an organization's alerts, and see what became of each."""

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import reverse

from tests.admin.steps import ask, ask_of_several, confirm, said
from tests.factories import OrganizationFactory
from tests.wallets.alerts import raised
from wallets.alerts.admin import SendAgain
from wallets.models import Alert

pytestmark = pytest.mark.django_db

ALERTS = reverse("admin:wallets_alert_changelist")


@pytest.fixture
def staff(client):
    client.force_login(get_user_model().objects.create_superuser("staff"))
    return client


@pytest.fixture
def organization():
    return OrganizationFactory()


def save(client, organization, *emails, **changes):
    fields = {
        "name": organization.name,
        "rate_pence_per_minute": organization.rate_pence_per_minute,
        "billing_increment_seconds": organization.billing_increment_seconds,
        "low_balance_pence": organization.low_balance_pence,
        "time_zone": organization.time_zone,
        "memberships-TOTAL_FORMS": 0,
        "memberships-INITIAL_FORMS": 0,
        "alert_recipients-TOTAL_FORMS": len(emails),
        "alert_recipients-INITIAL_FORMS": 0,
    }
    for number, email in enumerate(emails):
        fields[f"alert_recipients-{number}-email"] = email
    url = reverse("admin:wallets_organization_change", args=[organization.pk])
    return client.post(url, fields | changes)


def recipients(organization):
    return sorted(organization.alert_recipients.values_list("email", flat=True))


def test_staff_set_who_gets_the_alerts_and_by_which_clock(staff, organization):
    response = save(
        staff,
        organization,
        "ann@example.com",
        "bob@example.com",
        time_zone="Europe/Paris",
        low_balance_pence=2_500,
    )

    assert response.status_code == 302
    assert recipients(organization) == ["ann@example.com", "bob@example.com"]
    organization.refresh_from_db()
    assert (organization.time_zone, organization.low_balance_pence) == ("Europe/Paris", 2_500)


@pytest.mark.parametrize(
    ("emails", "changes", "said"),
    [
        (["ann@example.com", "ann@example.com"], {}, "already exists"),
        (["nobody"], {}, "valid email"),
        ([], {"time_zone": "Europe/Atlantis"}, "is no time zone"),
    ],
)
def test_what_is_wrong_is_said_and_not_saved(staff, organization, emails, changes, said):
    if len(emails) == 2:
        save(staff, organization, emails.pop(0))

    response = save(staff, organization, *emails, **changes)

    assert response.status_code == 200
    assert said in response.content.decode()
    assert len(recipients(organization)) <= 1


def test_staff_have_an_alert_that_was_given_up_sent_again(staff, organization):
    given_up = raised(organization, key="1")
    Alert.objects.update(status="failed", next_attempt_at=None, attempts=12)
    waiting = raised(organization, key="2")

    told = said(confirm(staff, ask_of_several(staff, [given_up, waiting], SendAgain)))

    assert "It was sent, or waits to be." in told
    given_up.refresh_from_db()
    assert (given_up.status, given_up.attempts) == ("pending", 0)


def test_staff_who_may_only_look_cannot(client, organization):
    user = get_user_model().objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_alert"))
    client.force_login(user)
    alert = raised(organization)
    Alert.objects.update(status="failed", next_attempt_at=None)

    ask_of_several(client, [alert], SendAgain)
    for step in ("ask", "confirm"):
        assert ask(client, alert, SendAgain, step=step).status_code == 403

    alert.refresh_from_db()
    assert alert.status == "failed"


def test_an_alert_can_be_looked_at(staff, organization):
    alert = raised(organization)

    response = staff.get(reverse("admin:wallets_alert_change", args=[alert.pk]))

    assert response.status_code == 200
    assert "re_1" in response.content.decode()
