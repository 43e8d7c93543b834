"""The words of an alert: two templates for each kind, in templates/emails.

The first line of the text is the subject.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import timezone

from wallets.models import Alert


def message_for(alert: Alert, addresses: Sequence[str]) -> EmailMultiAlternatives:
    """The e-mail of an alert, with times by the organization's clock.

    Its Message-ID is always the same, so that a copy that was sent twice can be recognised.
    """
    organization = alert.organization
    context = {
        **_with_moments(alert.context),
        "organization": organization,
        "created_at": alert.created_at,
        "site_url": settings.SITE_URL,
    }
    with timezone.override(organization.time_zone):
        text = render_to_string(f"emails/{alert.kind}.txt", context)
        html = render_to_string(f"emails/{alert.kind}.html", context)
    subject, _, body = text.strip().partition("\n")
    message = EmailMultiAlternatives(
        # A name may have line breaks of its own, which no header may.
        subject=" ".join(subject.split()),
        body=body.strip() + "\n",
        to=list(addresses),
        headers={
            "Message-ID": f"<alert-{alert.pk}@{urlsplit(settings.SITE_URL).hostname}>",
            "Auto-Submitted": "auto-generated",
        },
    )
    message.attach_alternative(html, "text/html")
    return message


def _with_moments(stored: Any, name: str = "") -> Any:
    """What was stored as JSON, with the moments (`…_at`) that it was given."""
    if isinstance(stored, Mapping):
        return {key: _with_moments(value, key) for key, value in stored.items()}
    if isinstance(stored, list):
        return [_with_moments(value) for value in stored]
    return datetime.fromisoformat(stored) if stored and name.endswith("_at") else stored
