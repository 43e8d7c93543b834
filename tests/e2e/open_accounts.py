"""Makes organizations in the database that the environment names: NAME=PENCE … as arguments.

NAME=PENCE@RATE is one that is billed by the second, at so many pence a minute.

A program of its own, since settings are those of the environment: python -m
tests.e2e.open_accounts. Prints, by name, how to sign in and where Vapi's calls for it arrive, as
one JSON object.
"""

import json
import sys
import time

import django

django.setup()

from tests.factories import (  # noqa: E402
    MembershipFactory,
    OrganizationFactory,
    PhoneNumberFactory,
    UserFactory,
)

PASSWORD = "open sesame, for tests"


def open_account(name: str, pence: int, rate: str) -> dict[str, str]:
    tariff = (
        {"rate_pence_per_minute": int(rate), "billing_increment_seconds": 1}
        if rate
        else {"rate_pence_per_minute": 49}
    )
    organization = OrganizationFactory(name=name, funded_pence=pence, **tariff)
    owner = UserFactory(username=name)
    owner.set_password(PASSWORD)
    owner.save()
    MembershipFactory(user=owner, organization=organization)
    number = PhoneNumberFactory(organization=organization)
    return {
        "id": str(organization.pk),
        "vapi_assistant_id": number.assistant.vapi_assistant_id,
        "username": name,
        "password": PASSWORD,
        "phone_number": number.number,
        "vapi_phone_number_id": number.vapi_phone_number_id,
    }


# Other numbers than an earlier run's, which are in the database.
PhoneNumberFactory.reset_sequence(time.time_ns() // 1000 % 10_000_000)
accounts = {}
for argument in sys.argv[1:]:
    account, _, money = argument.rpartition("=")
    funded_pence, _, rate = money.partition("@")
    accounts[account] = open_account(account, int(funded_pence), rate)
print(json.dumps(accounts))
