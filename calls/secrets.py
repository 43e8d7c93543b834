"""A live call's control URL ends the call for whoever holds it, so it is stored encrypted."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


def encrypt_control_url(control_url: str | None) -> str:
    """The URL as it may be stored; empty for none."""
    return _cipher().encrypt(control_url.encode()).decode() if control_url else ""


def decrypt_control_url(encrypted: str) -> str | None:
    """The URL; None for an empty value, or one that was encrypted under a key now gone."""
    try:
        return _cipher().decrypt(encrypted.encode()).decode() if encrypted else None
    except InvalidToken:
        return None


def _cipher() -> MultiFernet:
    # Django's own fallback keys keep calls that are live during a change of SECRET_KEY endable.
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return MultiFernet(
        [
            Fernet(base64.urlsafe_b64encode(hashlib.sha256(f"control-url:{key}".encode()).digest()))
            for key in keys
        ]
    )
