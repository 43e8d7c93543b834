"""How amounts are written, for people and for spreadsheets."""


def pounds(pence: int) -> str:
    """An amount of pence in pounds; a minus is never hidden."""
    whole, rest = divmod(abs(pence), 100)
    return f"{'−' if pence < 0 else ''}£{whole:,}.{rest:02}"


def plain_pounds(pence: int) -> str:
    """An amount of pence in pounds, as programs read numbers: -12.50."""
    whole, rest = divmod(abs(pence), 100)
    return f"{'-' if pence < 0 else ''}{whole}.{rest:02}"
