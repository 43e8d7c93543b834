"""Finding the top-up that a fact of Stripe's is about, and locking it."""

from uuid import UUID

from wallets.locks import lock_organization
from wallets.models import Organization, TopUp


def find_topup(*, topup_id: str, payment_intent_id: str) -> TopUp | None:
    """By its PaymentIntent, else by the id that our metadata names. Nothing is locked."""
    if payment_intent_id:
        topup = TopUp.objects.filter(stripe_payment_intent_id=payment_intent_id).first()
        if topup is not None:
            return topup
    try:
        return TopUp.objects.filter(pk=UUID(topup_id)).first()
    except ValueError:
        return None


def lock_topup(topup: TopUp) -> tuple[Organization, TopUp]:
    """Lock the top-up's organization, then the top-up; both as they are now."""
    organization = lock_organization(topup.organization_id)
    locked = TopUp.objects.select_for_update(no_key=True).get(pk=topup.pk)
    # The instance at hand, so that what it says of its wallet is what the lock covers.
    locked.organization = organization
    return organization, locked


def look_at(topup: TopUp, sentence: str) -> None:
    """Have staff look at a locked top-up; a sentence is added once."""
    if sentence in topup.attention:
        return
    topup.attention = f"{topup.attention} {sentence}".strip()
    topup.save(update_fields=["attention"])
