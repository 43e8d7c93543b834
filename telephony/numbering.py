"""How numbers are written in the countries whose area codes can be asked for."""

# Country calling code, and the digit that is dialled before an area code at home and not abroad.
_COUNTRIES = {
    "AT": ("43", "0"),
    "AU": ("61", "0"),
    "BE": ("32", "0"),
    "CA": ("1", ""),
    "CH": ("41", "0"),
    "DE": ("49", "0"),
    "ES": ("34", ""),
    "FR": ("33", "0"),
    "GB": ("44", "0"),
    "IE": ("353", "0"),
    "IT": ("39", ""),
    "NL": ("31", "0"),
    "NZ": ("64", "0"),
    "SE": ("46", "0"),
    "US": ("1", ""),
}


class AreaCodeNotSupported(Exception):
    """Numbers of this country cannot be chosen by their area code."""


def beginning_of_numbers(country: str, area_code: str) -> str:
    """What the numbers of an area begin with, like +4420; an area code may be written 020.

    Raises AreaCodeNotSupported.
    """
    if country not in _COUNTRIES:
        raise AreaCodeNotSupported(
            f"Numbers in {country} cannot be chosen by area code: leave areaCode out."
        )
    calling_code, trunk = _COUNTRIES[country]
    return f"+{calling_code}{area_code.removeprefix(trunk)}"
