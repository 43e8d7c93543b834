"""How numbers are written in the countries whose area codes can be asked for."""

from django.core.validators import RegexValidator

is_country = RegexValidator(r"^[A-Z]{2}\Z", "Write a country as two letters, like GB.")
is_area_code = RegexValidator(r"^[0-9]{1,6}\Z", "Write an area code as 1 to 6 digits.")

# Its name, its calling code, and the digit that is dialled before an area code at home and not
# abroad.
_COUNTRIES = {
    "AT": ("Austria", "43", "0"),
    "AU": ("Australia", "61", "0"),
    "BE": ("Belgium", "32", "0"),
    "CA": ("Canada", "1", ""),
    "CH": ("Switzerland", "41", "0"),
    "DE": ("Germany", "49", "0"),
    "ES": ("Spain", "34", ""),
    "FR": ("France", "33", "0"),
    "GB": ("United Kingdom", "44", "0"),
    "IE": ("Ireland", "353", "0"),
    "IT": ("Italy", "39", ""),
    "NL": ("Netherlands", "31", "0"),
    "NZ": ("New Zealand", "64", "0"),
    "SE": ("Sweden", "46", "0"),
    "US": ("United States", "1", ""),
}

COUNTRY_NAMES = {code: name for code, (name, _, _) in _COUNTRIES.items()}


class AreaCodeNotSupported(Exception):
    """Numbers of this country cannot be chosen by their area code."""


def beginning_of_numbers(country: str, area_code: str) -> str:
    """What the numbers of an area begin with, like +4420; an area code may be written 020.

    Raises AreaCodeNotSupported.
    """
    if country not in _COUNTRIES:
        raise AreaCodeNotSupported(
            f"Numbers in {country} cannot be chosen by area code: leave the area code out."
        )
    _, calling_code, trunk = _COUNTRIES[country]
    return f"+{calling_code}{area_code.removeprefix(trunk)}"
