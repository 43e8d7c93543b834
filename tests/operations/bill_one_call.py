"""Bills one call through the webhook, as whatever database role DATABASE_URL names.

A program of its own, since settings are those of the environment: python -m
tests.operations.bill_one_call. Prints what became of it as one JSON object.
"""

import json
from datetime import UTC, datetime, timedelta

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402

from calls.models import Call  # noqa: E402
from telephony.models import Assistant, PhoneNumber  # noqa: E402
from voxbilling import vapi_payloads as payloads  # noqa: E402
from voxbilling.tenancy import tenant_scope  # noqa: E402
from wallets import ledger  # noqa: E402
from wallets.models import Organization  # noqa: E402

client = Client(
    headers={
        "host": settings.ALLOWED_HOSTS[0],
        "x-forwarded-proto": "https",
        "x-vapi-secret": settings.VAPI_WEBHOOK_SECRETS[0],
    }
)


def send(message):
    response = client.post("/api/vapi/webhook", message, content_type="application/json")
    assert response.status_code == 200, response.content
    return response.json()


organization = Organization.objects.create(name="Production")
assistant = Assistant.objects.create(
    organization=organization, name="Assistant", vapi_assistant_id="assistant"
)
number = PhoneNumber.objects.create(
    organization=organization,
    number="+442079460009",
    vapi_phone_number_id="number",
    assistant=assistant,
)
ledger.add_credits(
    organization_id=organization.pk,
    amount_pence=1_000,
    credit_type="topup",
    description="Opening balance",
    idempotency_key="opening",
)
call = payloads.SimulatedCall(
    call_type="inboundPhoneCall",
    assistant_id=None,
    phone_number_id=number.vapi_phone_number_id,
    phone_number=number.number,
    control_base_url="http://127.0.0.1:9",
)
now = datetime.now(UTC)
answer = send(payloads.assistant_request(call, at=now))
organization.refresh_from_db()
held_pence = organization.reserved_pence
send(payloads.status_update(call, "in-progress", at=now))
send(
    payloads.end_of_call_report(
        call,
        started_at=now - timedelta(seconds=61),
        ended_at=now,
        ended_reason="customer-ended-call",
    )
)
ledger.reserve_call_credits(organization_id=organization.pk, call_id="left over")
ledger.release_reservation(call_id="left over")
ledger.cleanup_expired_reservations()
call_command("check_ledger")
organization.refresh_from_db()


def seen_by(reader):
    with tenant_scope(reader.pk):
        return [Organization.objects.count(), Call.objects.count()]


stranger = Organization.objects.create(name="Stranger")
print(
    json.dumps(
        {
            "assistant": answer["assistantId"],
            "held_pence": held_pence,
            "reserved_pence": organization.reserved_pence,
            "balance_pence": organization.balance_pence,
            "seen_by_its_owner": seen_by(organization),
            "seen_by_a_stranger": seen_by(stranger),
            "ready": client.get("/readyz").json()["checks"]["database"],
        }
    )
)
