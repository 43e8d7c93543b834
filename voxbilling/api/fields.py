"""Fields of request bodies that take JSON's own types, and nothing that only looks like them."""

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from voxbilling.storable_text import is_storable


def _storable(text: str) -> None:
    if not is_storable(text):
        raise ValidationError("This text has characters that cannot be stored.")


class TextField(serializers.CharField):
    """Text that PostgreSQL can store, kept as it is; a number is no text. Blank text is refused."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)
        # In place of Django's: one sentence for all that cannot be stored.
        self.validators = [
            *(check for check in self.validators if "Prohibit" not in type(check).__name__),
            _storable,
        ]

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if data is not serializers.empty and data is not None and not isinstance(data, str):
            self.fail("invalid")
        if isinstance(data, str) and not data.strip() and not self.allow_blank:
            self.fail("blank")
        return super().run_validation(data)


class WholeNumberField(serializers.IntegerField):
    """An integer of JSON: neither "12" nor 12.0 nor true."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return int(data)
