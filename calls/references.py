"""What a message says about which call it means, before anything is looked up."""

from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class CallReference:
    """The ids of a call as Vapi sent them; None where the message had nothing usable.

    `control_url` lets whoever holds it end the call, so it is left out of `repr` and of logs.
    """

    vapi_call_id: str
    call_type: str | None = None
    vapi_phone_number_id: str | None = None
    phone_number: str | None = None
    vapi_squad_id: str | None = None
    vapi_assistant_id: str | None = None
    control_url: str | None = field(default=None, repr=False)
