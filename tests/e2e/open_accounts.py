"""Makes organizations in the database that the environment names: NAME=PENCE … as arguments.

A program of its own, since settings are those of the environment: python -m
tests.e2e.open_accounts. Prints, by name, how to sign in and where Vapi's calls for it arrive, as
one JSON object.
"""

import json
import sys

import django

django.setup()

from tests.factories import (  # noqa: E402
    MembershipFactory,
    OrganizationFactory,
    PhoneNumberFactory,
    UserFactory,
)

PASSWORD = "open sesame, for tests"


def open_account(name: str, pence: int) -> dict[str, str]:
    organization = OrganizationFactory(name=name, funded_pence=pence, rate_pence_per_minute=49)
    owner = UserFactory(username=name)
    owner.set_password(PASSWORD)
    owner.save()
    MembershipFactory(user=owner, organization=organization)
    number = PhoneNumberFactory(organization=organization)
    return {
        "username": name,
        "password": PASSWORD,
        "phone_number": number.number,
        "vapi_phone_number_id": number.vapi_phone_number_id,
    }


accounts = {}
for argument in sys.argv[1:]:
    account, _, funded_pence = argument.rpartition("=")
    accounts[account] = open_account(account, int(funded_pence))
print(json.dumps(accounts))
