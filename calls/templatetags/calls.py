"""How templates write durations and reasons: {{ seconds|clock }}, {{ reason|in_words }}."""

from django import template

register = template.Library()


@register.filter
def clock(seconds: int) -> str:
    """Seconds as a clock shows them: 0:07, 12:30, 1:02:03."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@register.filter
def in_words(reason: str) -> str:
    """Vapi's word for why a call ended, like customer-ended-call, as a few plain words."""
    words = reason.replace("call.", "").replace("-", " ").replace(".", ", ").replace("_", " ")
    return words[:1].upper() + words[1:]


_TYPES = {
    "inboundPhoneCall": "Inbound",
    "outboundPhoneCall": "Outbound",
    "webCall": "Web",
    "vapi.websocketCall": "Web",
}


@register.filter
def call_type(name: str) -> str:
    """Vapi's name for a kind of call, as people say it."""
    return _TYPES.get(name, name)
