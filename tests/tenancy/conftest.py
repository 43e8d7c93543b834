"""Two organizations with a row in every tenant table."""

from dataclasses import dataclass

import pytest
from django.db import ProgrammingError, models
from django.utils import timezone

from calls.models import Appointment, Call
from telephony.models import NumberOrder
from tests.factories import OrganizationFactory, PhoneNumberFactory, UserFactory
from wallets import ledger
from wallets.models import (
    Alert,
    AlertRecipient,
    CreditReservation,
    CreditTransaction,
    Dispute,
    Membership,
    Organization,
    PaymentProfile,
    Refund,
    StaffAction,
    TopUp,
)
from webhooks.models import WebhookEvent


@dataclass
class Tenant:
    """An organization and one row of its own in each other tenant table."""

    organization: Organization
    rows: dict[type[models.Model], models.Model]

    @property
    def id(self):
        return self.organization.pk


def make_tenant(name: str) -> Tenant:
    organization = OrganizationFactory(name=name, funded_pence=10_000)
    ledger.reserve_call_credits(organization_id=organization.pk, call_id=f"call of {name}")
    organization.refresh_from_db()
    number = PhoneNumberFactory(organization=organization)
    call = Call.objects.create(
        organization=organization,
        call_id=f"call of {name}",
        phone_number=number,
        assistant=number.assistant,
        control_url_encrypted=f"secret of {name}",
        attention=f"about {name}",
    )
    entry = CreditTransaction.objects.get(organization=organization)
    user = UserFactory()
    topup = TopUp.objects.create(
        organization=organization,
        origin="checkout",
        amount_pence=1,
        attention=f"about {name}",
        created_at=timezone.now(),
    )
    made = [
        organization,
        Membership.objects.create(organization=organization, user=user),
        CreditReservation.objects.get(organization=organization),
        entry,
        number.assistant,
        number,
        PaymentProfile.objects.create(organization=organization),
        topup,
        Refund.objects.create(
            organization=organization,
            topup=topup,
            amount_pence=1,
            requested_by=user,
            debit=entry,
            created_at=timezone.now(),
            work_due_at=timezone.now(),
        ),
        Dispute.objects.create(
            organization=organization,
            topup=topup,
            amount_pence=1,
            stripe_dispute_id=name,
            created_at=timezone.now(),
        ),
        Alert.objects.create(
            organization=organization,
            kind="empty",
            key=name,
            context={},
            created_at=timezone.now(),
            next_attempt_at=timezone.now(),
        ),
        StaffAction.objects.create(
            organization=organization,
            user=user,
            username=user.username,
            action="adjust",
            target_kind="wallets.organization",
            target_id=organization.pk,
            target_name=name,
            at=timezone.now(),
        ),
        AlertRecipient.objects.create(organization=organization, email="somebody@example.com"),
        NumberOrder.objects.create(
            organization=organization,
            idempotency_key=name,
            country="GB",
            number_type="local",
            price_pence=1,
            charge=entry,
            created_at=timezone.now(),
            work_due_at=timezone.now(),
        ),
        call,
        Appointment.objects.create(organization=organization, call=call),
        WebhookEvent.objects.create(
            organization=organization,
            source="vapi",
            digest=name,
            payload={"secret": name},
            status="processed",
            received_at=timezone.now(),
        ),
    ]
    return Tenant(organization, {type(row): row for row in made})


@pytest.fixture
def ours(db) -> Tenant:
    return make_tenant("ours")


@pytest.fixture
def theirs(db) -> Tenant:
    return make_tenant("theirs")


@pytest.fixture
def refused():
    """Expects PostgreSQL to say that the role may not do that."""
    return lambda: pytest.raises(ProgrammingError, match="permission denied for table")
