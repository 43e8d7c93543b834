"""What PostgreSQL can store as text: no NUL, and nothing that UTF-8 cannot encode."""


def is_storable(text: str) -> bool:
    """Whether the text has neither NUL nor half of a surrogate pair."""
    return "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def storable(text: str) -> str:
    """The text with what cannot be stored taken out or replaced; for text that is only to read."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
