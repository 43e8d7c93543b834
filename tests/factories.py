"""Makes what tests need. Money comes through the ledger, so that every balance has its entries."""

import uuid

import factory
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.utils import timezone

from telephony.models import VAPI_MAX_DURATION_SECONDS, Assistant, PhoneNumber
from wallets import ledger
from wallets.models import Membership, Organization, TopUp


class OrganizationFactory(factory.django.DjangoModelFactory):
    """An organization; `funded_pence=…` tops its wallet up."""

    class Meta:
        model = Organization
        skip_postgeneration_save = True

    name = factory.Sequence(lambda number: f"Organization {number}")

    @factory.post_generation
    def funded_pence(self, create, extracted, **kwargs):
        if create and extracted:
            ledger.add_credits(
                organization_id=self.pk,
                amount_pence=extracted,
                credit_type="topup",
                description="Opening balance",
                idempotency_key="opening",
            )
            self.refresh_from_db()


class UserFactory(factory.django.DjangoModelFactory):
    class Meta:
        model = get_user_model()

    username = factory.Sequence(lambda number: f"user{number}")


def staff_of(group):
    """A member of staff who is in this group, and in no other."""
    user = UserFactory(is_staff=True)
    user.groups.add(Group.objects.get(name=group))
    return user


class MembershipFactory(factory.django.DjangoModelFactory):
    """A person's place in an organization: an owner's, unless told otherwise."""

    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    organization = factory.SubFactory(OrganizationFactory)
    role = Membership.Role.OWNER


class TopUpFactory(factory.django.DjangoModelFactory):
    """A top-up that was begun on Stripe's page and is not paid."""

    class Meta:
        model = TopUp

    organization = factory.SubFactory(OrganizationFactory)
    origin = TopUp.Origin.CHECKOUT
    amount_pence = 5_000
    created_at = factory.LazyFunction(timezone.now)


class AssistantFactory(factory.django.DjangoModelFactory):
    """An assistant that takes calls of Vapi's longest duration, unless told otherwise."""

    class Meta:
        model = Assistant

    organization = factory.SubFactory(OrganizationFactory)
    name = factory.Sequence(lambda number: f"Assistant {number}")
    vapi_assistant_id = factory.LazyFunction(lambda: str(uuid.uuid4()))
    max_duration_seconds = VAPI_MAX_DURATION_SECONDS


class PhoneNumberFactory(factory.django.DjangoModelFactory):
    """A number that its organization's own assistant answers; `assistant=None` for nobody."""

    class Meta:
        model = PhoneNumber

    organization = factory.SubFactory(OrganizationFactory)
    number = factory.Sequence(lambda number: f"+4420{70_000_000 + number}")
    vapi_phone_number_id = factory.LazyFunction(lambda: str(uuid.uuid4()))
    assistant = factory.SubFactory(
        AssistantFactory, organization=factory.SelfAttribute("..organization")
    )
