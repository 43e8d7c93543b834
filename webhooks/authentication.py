"""Whether a webhook comes from its provider, decided on the raw bytes before anything is parsed.

Vapi sends one of three credentials (its server authentication): `X-Vapi-Secret`, a bearer token in
`Authorization`, or an HMAC signature. Every value is compared in constant time, as bytes. Stripe
signs; its SDK verifies that.
"""

import base64
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import datetime

import stripe
from django.conf import settings

# How far a signed timestamp may be from our clock, each way: time for a retry and a clock that is
# off, and no more.
MAX_SIGNATURE_AGE_SECONDS = 300

# Vapi's credential names its algorithm, the request does not; the three digests differ in length.
# SHA-1 is broken for collisions, not as a MAC.
_ALGORITHM_BY_DIGEST_BYTES = {20: "sha1", 32: "sha256", 64: "sha512"}
# `sha256=` and the like: Vapi's credential may put any prefix before the signature.
_SIGNATURE = re.compile(
    rb"(?:[\w-]{1,16}=)?(?:(?P<hex>[0-9A-Fa-f]+)|(?P<base64>[A-Za-z0-9+/]+={0,2}))"
)
_TIMESTAMP = re.compile(rb"[0-9]{1,15}")
# 10^11 seconds is the year 5138, 10^11 milliseconds is 1973: what is above can only be the latter.
_FIRST_TIMESTAMP_IN_MILLISECONDS = 10**11


_NONE_CONFIGURED = "This server has no webhook secret configured, so it refuses every webhook."
_NOT_VALID = (
    "The request carries no valid credential: its secret or signature is missing, wrong or out of "
    "date."
)
_NOT_SIGNED = (
    "The request is not signed by Stripe with our secret: its Stripe-Signature is missing, wrong "
    "or out of date. STRIPE_WEBHOOK_SECRET must be the signing secret of this endpoint."
)


class WebhookNotAuthenticated(Exception):
    """No credential of the request is valid. The message may be returned to the caller."""


def authenticate_vapi(headers: Mapping[str, str], raw_body: bytes, now: datetime) -> None:
    """Return if the request proves that it knows one of our secrets.

    `headers` is `request.headers` (or any mapping that ignores case), `now` an aware datetime.
    Raises WebhookNotAuthenticated, also when no secret is configured at all.

    One valid credential is enough, whatever else the request carries: each proves by itself that
    the sender knows a secret, and a wrong one beside it proves nothing. It also lets the operator
    move from one kind of credential to another while Vapi still sends the old one.
    """
    secrets = _usable(settings.VAPI_WEBHOOK_SECRETS)
    signing_keys = _usable(settings.VAPI_WEBHOOK_HMAC_SECRETS)
    if not (_knows_a_secret(headers, secrets) or _is_signed(headers, raw_body, now, signing_keys)):
        raise _refusal()


def require_a_credential(headers: Mapping[str, str]) -> None:
    """Return if the headers alone could be valid: with a right secret, or with any signature.

    Asked before the body is read. Raises WebhookNotAuthenticated.
    """
    is_signed = any(_header(headers, name) for name in ("x-signature", "x-vapi-signature"))
    if not is_signed and not _knows_a_secret(headers, _usable(settings.VAPI_WEBHOOK_SECRETS)):
        raise _refusal()


def authenticate_stripe(headers: Mapping[str, str], raw_body: bytes) -> None:
    """Return if the body is signed with our secret, at most five minutes ago.

    Raises WebhookNotAuthenticated, also when no secret is configured.
    """
    require_a_signature(headers)
    try:
        stripe.WebhookSignature.verify_header(
            raw_body,
            headers["Stripe-Signature"],
            settings.STRIPE_WEBHOOK_SECRET,
            tolerance=MAX_SIGNATURE_AGE_SECONDS,
        )
    except (stripe.SignatureVerificationError, ValueError, TypeError):
        # Bytes that are no text were not signed by Stripe either, nor is a signature that is none.
        raise WebhookNotAuthenticated(_NOT_SIGNED) from None


def require_a_signature(headers: Mapping[str, str]) -> None:
    """Return if the request may turn out to be Stripe's. Asked before the body is read.

    Raises WebhookNotAuthenticated.
    """
    if not settings.STRIPE_WEBHOOK_SECRET:
        raise WebhookNotAuthenticated(_NONE_CONFIGURED)
    if not headers.get("Stripe-Signature"):
        raise WebhookNotAuthenticated(_NOT_SIGNED)


def _refusal() -> WebhookNotAuthenticated:
    any_secret = _usable([*settings.VAPI_WEBHOOK_SECRETS, *settings.VAPI_WEBHOOK_HMAC_SECRETS])
    return WebhookNotAuthenticated(_NOT_VALID if any_secret else _NONE_CONFIGURED)


def _usable(secrets: Iterable[str]) -> list[bytes]:
    """The configured secrets without blank ones, which would let an empty header in."""
    return [secret.strip().encode() for secret in secrets if secret.strip()]


def _header(headers: Mapping[str, str], name: str) -> bytes:
    """The header's bytes as they came over the wire; empty if absent, and empty never matches."""
    try:
        # WSGI hands over each byte of a header as one Latin-1 character.
        return headers.get(name, "").strip().encode("latin-1")
    except UnicodeEncodeError:
        return b""


def _knows_a_secret(headers: Mapping[str, str], secrets: list[bytes]) -> bool:
    authorization = _header(headers, "Authorization")
    scheme, _, token = authorization.partition(b" ")
    # Vapi's credential can leave the `Bearer` prefix off, so the whole value counts as well.
    offered = [_header(headers, "X-Vapi-Secret"), authorization]
    if scheme.lower() == b"bearer":
        offered.append(token.strip())
    return any(hmac.compare_digest(value, secret) for value in offered for secret in secrets)


def _is_signed(
    headers: Mapping[str, str], raw_body: bytes, now: datetime, signing_keys: list[bytes]
) -> bool:
    """Whether one of the two signatures holds.

    They cannot be passed off as each other: what `x-signature` covers begins with a timestamp and
    is no JSON, and a JSON object does not begin with a timestamp.
    """
    timestamp = _header(headers, "x-timestamp")
    if _is_recent(timestamp, now) and _matches(
        _header(headers, "x-signature"), timestamp + b"." + raw_body, signing_keys
    ):
        return True
    # Nothing here bounds the age. A repeated body is stored once and processed once.
    return _matches(_header(headers, "x-vapi-signature"), raw_body, signing_keys)


def _is_recent(timestamp: bytes, now: datetime) -> bool:
    if not _TIMESTAMP.fullmatch(timestamp):
        return False
    signed_at = float(timestamp)
    if signed_at >= _FIRST_TIMESTAMP_IN_MILLISECONDS:
        signed_at /= 1000
    return abs(now.timestamp() - signed_at) <= MAX_SIGNATURE_AGE_SECONDS


def _matches(signature: bytes, signed: bytes, signing_keys: list[bytes]) -> bool:
    digest = _digest(signature)
    algorithm = _ALGORITHM_BY_DIGEST_BYTES.get(len(digest))
    if algorithm is None:
        return False
    return any(
        hmac.compare_digest(digest, hmac.digest(key, signed, algorithm)) for key in signing_keys
    )


def _digest(signature: bytes) -> bytes:
    """The bytes that a signature in hex or base64 stands for; empty if it is neither."""
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        return b""
    try:
        if match["hex"] is not None:
            return bytes.fromhex(match["hex"].decode())
        return base64.b64decode(match["base64"], validate=True)
    except ValueError:
        return b""
