"""Makes what tests need. Money comes through the ledger, so that every balance has its entries."""

import factory
from django.contrib.auth import get_user_model

from wallets import ledger
from wallets.models import Organization


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
