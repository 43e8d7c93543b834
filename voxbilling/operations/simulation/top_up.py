"""A customer tops a wallet up by card on the sandbox's page, as at Stripe's own."""

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

# A number that the sandbox takes for a good card, like Stripe in test mode.
GOOD_CARD = "4242424242424242"
CREDITED_WITHIN_SECONDS = 30
_TIMEOUT_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class ToppedUp:
    """How a top-up went. `problem` is a sentence if the wallet was not credited, once."""

    amount_pence: int
    seconds: float
    problem: str = ""


def top_up(
    *, base_url: str, sandbox_url: str, organization: dict[str, Any], amount_pence: int
) -> ToppedUp:
    """Pay into an organization of `demo.json`, and wait for the credit. Raises httpx.HTTPError."""
    with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
        access = http.post(f"{base_url}/api/auth/token/", json=organization["owner"])
        headers = {
            "Authorization": f"Bearer {access.raise_for_status().json()['access']}",
            "X-Org-Id": organization["id"],
        }

        def balance_pence() -> int:
            wallet = http.get(f"{base_url}/api/billing/wallet", headers=headers)
            return int(wallet.raise_for_status().json()["balance_pence"])

        before_pence = balance_pence()
        asked = http.post(
            f"{base_url}/api/billing/wallet/topup",
            headers=headers,
            json={"amount_pence": amount_pence},
        )
        page = asked.raise_for_status().json()["url"]
        if not page.startswith(sandbox_url):
            # Nobody pays real money for a demonstration.
            return ToppedUp(amount_pence=0, seconds=0)
        began = time.monotonic()
        paid = http.post(page, data={"card_number": GOOD_CARD})
        if paid.status_code != HTTPStatus.SEE_OTHER:
            return ToppedUp(
                amount_pence=amount_pence,
                seconds=0,
                problem=f"The sandbox's page to pay on answered {paid.status_code}.",
            )
        while (credited_pence := balance_pence() - before_pence) == 0:
            if time.monotonic() - began > CREDITED_WITHIN_SECONDS:
                break
            time.sleep(0.1)
    problem = ""
    if credited_pence != amount_pence:
        problem = f"A top-up of {amount_pence}p was paid, and {credited_pence}p were credited."
    return ToppedUp(amount_pence=amount_pence, seconds=time.monotonic() - began, problem=problem)
