"""Fields of request bodies that take JSON's own types, and nothing that only looks like them."""

from typing import Any

from rest_framework import serializers


class TextField(serializers.CharField):
    """Text that can be stored (voxbilling/storable_text.py), kept as it is, and not blank.

    A number is no text. REST framework itself refuses NUL and halves of surrogate pairs.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def run_validation(self, data: Any = serializers.empty) -> Any:
        if isinstance(data, str) and not data.strip() and not self.allow_blank:
            self.fail("blank")
        return super().run_validation(data)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class WholeNumberField(serializers.IntegerField):
    """An integer of JSON: neither "12" nor 12.0 nor true."""

    def to_internal_value(self, data: Any) -> int:
        if type(data) is not int:
            self.fail("invalid")
        return int(data)


class WholeNumberParameter(serializers.IntegerField):
    """An integer in a query, in plain digits: neither 1_0 nor 1.0 nor another script's digits."""

    def to_internal_value(self, data: Any) -> int:
        if not (isinstance(data, str) and data.isascii() and data.isdecimal()):
            self.fail("invalid")
        return int(super().to_internal_value(data))
