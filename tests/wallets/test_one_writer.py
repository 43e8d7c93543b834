"""Only wallets/ledger writes balances, holds and entries: read from the source of everything else.

Reading cannot see every way to write, so it looks for the ways that people take. What it overlooks
the database's triggers refuse.
"""

import ast
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PACKAGES = ("voxbilling", "wallets", "telephony", "calls", "webhooks")
# Verification tries what the database must refuse, and rolls it back.
MAY_NAME_THEM = re.compile(
    r"^wallets/(ledger/.*|ledger|models|admin)(\.py)?$|/migrations/"
    r"|^voxbilling/operations/verification/ledger\.py$"
)

MONEY_FIELDS = {"balance_pence", "reserved_pence", "owed_pence", "last_sequence"}
LEDGER_MODELS = {"CreditReservation", "CreditTransaction"}
RELATED_NAMES = {"reservations", "entries"}
WRITING_METHODS = {
    "create", "acreate", "update", "aupdate", "delete", "adelete", "bulk_create", "abulk_create",
    "bulk_update", "abulk_update", "get_or_create", "aget_or_create", "update_or_create",
    "aupdate_or_create", "save", "asave",
}  # fmt: skip
WRITING_SQL = re.compile(
    r"\b(INSERT\s+INTO|UPDATE|DELETE\s+FROM|TRUNCATE|MERGE\s+INTO)\s+(ONLY\s+)?(TABLE\s+)?"
    r'"?(public"?\.)?"?(organizations|credit_reservations|credit_transactions)\b',
    re.IGNORECASE,
)


def ledger_writes(source: str) -> list[str]:
    """Each place in the source that writes what only the ledger may write."""
    found = []
    for node in ast.walk(ast.parse(source)):
        found += [f"line {node.lineno}: {what}" for what in writes_of(node)]
    return found


def writes_of(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
        # `self.…` is an object that keeps a figure of its own, such as an error.
        of_its_own = isinstance(node.value, ast.Name) and node.value.id == "self"
        return [f"assigns {node.attr}"] if node.attr in MONEY_FIELDS and not of_its_own else []
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [f"SQL: {match[0]}" for match in WRITING_SQL.finditer(node.value)]
    if isinstance(node, ast.Call):
        return writes_of_call(node)
    return []


def writes_of_call(call: ast.Call) -> list[str]:
    names = names_in_chain(call.func)
    fields = MONEY_FIELDS & (
        {keyword.arg for keyword in call.keywords}
        | {literal for argument in call.args for literal in strings_in(argument)}
        | {literal for keyword in call.keywords for literal in strings_in(keyword.value)}
    )
    if names[-1:] == ["setattr"] and fields:
        return [f"setattr of {', '.join(fields)}"]
    if names and names[-1] in LEDGER_MODELS:
        return [f"makes a {names[-1]}"]
    if names and names[-1] == "Organization" and fields:
        return [f"makes an Organization with {', '.join(fields)}"]
    if len(names) > 1 and names[-1] in WRITING_METHODS:
        on_ledger = (LEDGER_MODELS | RELATED_NAMES) & set(names[:-1])
        if on_ledger:
            return [f"{names[-1]} of {', '.join(on_ledger)}"]
        if fields:
            return [f"{names[-1]} of {', '.join(fields)}"]
    return []


def names_in_chain(node: ast.AST) -> list[str]:
    """`Model.objects.filter(…).update` → Model, objects, filter, update."""
    if isinstance(node, ast.Attribute):
        return [*names_in_chain(node.value), node.attr]
    if isinstance(node, ast.Call):
        return names_in_chain(node.func)
    return [node.id] if isinstance(node, ast.Name) else []


def strings_in(node: ast.AST) -> list[str]:
    return [
        inner.value
        for inner in ast.walk(node)
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
    ]


def sources() -> list[Path]:
    """All of the product but the ledger, and what declares its tables."""
    found = [PROJECT / "manage.py"]
    for package in PACKAGES:
        found += sorted((PROJECT / package).rglob("*.py"))
    return [path for path in found if not MAY_NAME_THEM.search(relative(path))]


def relative(path: Path) -> str:
    return path.relative_to(PROJECT).as_posix()


@pytest.mark.parametrize("path", sources(), ids=relative)
def test_nothing_but_the_ledger_writes_money(path):
    assert ledger_writes(path.read_text()) == []


def test_control_the_sources_are_read_and_the_ledger_itself_would_be_noticed():
    read = {relative(path) for path in sources()}
    assert {"wallets/locks.py", "wallets/results.py", "voxbilling/settings.py"} <= read
    assert not any(path.startswith("wallets/ledger") for path in read)
    ledger = [path.read_text() for path in (PROJECT / "wallets/ledger").glob("*.py")]
    assert sum(len(ledger_writes(source)) for source in ledger) > 10


@pytest.mark.parametrize(
    "snippet",
    [
        "organization.balance_pence = 0",
        "organization.balance_pence += 100",
        "organization.reserved_pence -= hold.reserved_pence",
        "wallet.organization.owed_pence: int = 5",
        "a, organization.last_sequence = 1, 2",
        "for organization.balance_pence in (1, 2): pass",
        "setattr(organization, 'balance_pence', 5)",
        "Organization(balance_pence=5).save()",
        "models.Organization(owed_pence=5)",
        "Organization.objects.create(name='x', balance_pence=5)",
        "Organization.objects.filter(pk=1).update(reserved_pence=F('reserved_pence') + 1)",
        "Organization.objects.update(**{'owed_pence': 0})",
        "Organization.objects.bulk_update(found, ['balance_pence'])",
        "Organization.objects.update_or_create(pk=1, defaults={'balance_pence': 1})",
        "organization.save(update_fields=['name', 'balance_pence'])",
        "CreditReservation(call_id='x')",
        "hold = models.CreditReservation(call_id='x')",
        "CreditReservation.objects.create(call_id='x')",
        "CreditReservation.objects.filter(status='active').update(status='expired')",
        "CreditReservation.objects.filter(status='active').delete()",
        "CreditTransaction.objects.bulk_create(found)",
        "CreditTransaction.objects.get(pk=1).save()",
        "organization.reservations.filter(status='active').update(status='released')",
        "organization.entries.create(amount_pence=5)",
        "cursor.execute('UPDATE organizations SET balance_pence = 0')",
        "cursor.execute('update \"credit_reservations\" set status = 1')",
        "cursor.execute('''INSERT\\nINTO public.credit_transactions VALUES (1)''')",
        "cursor.execute(f'DELETE FROM credit_transactions WHERE id = {x}')",
        "cursor.execute('TRUNCATE TABLE organizations')",
        "async def f():\n    await CreditReservation.objects.acreate(call_id='x')",
    ],
)
def test_control_a_second_writer_is_noticed(snippet):
    assert ledger_writes(snippet)


@pytest.mark.parametrize(
    "snippet",
    [
        "total = organization.balance_pence - organization.reserved_pence",
        "self.balance_pence = balance_pence",
        "Organization.objects.filter(balance_pence__lt=0).values('balance_pence')",
        "Organization.objects.filter(pk=1).update(name='Other')",
        "Organization.objects.create(name='x')",
        "CreditReservation.objects.filter(call_id='x').first()",
        "organization.entries.order_by('-sequence')[:20]",
        "ledger.add_credits(amount_pence=5)",
        "InsufficientBalance(balance_pence=5, reserved_pence=1)",
        "cursor.execute('SELECT balance_pence FROM organizations')",
        "membership.save()",
    ],
)
def test_control_reading_is_not_writing(snippet):
    assert ledger_writes(snippet) == []
