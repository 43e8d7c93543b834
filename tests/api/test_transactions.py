"""GET /api/billing/wallet/transactions."""

import json

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.api.history import write_history
from tests.factories import OrganizationFactory
from tests.wallets.steps import commit, reserve, top_up
from voxbilling.api.pages import Cursor
from voxbilling.tenancy import tenant_scope
from wallets import selectors
from wallets.models import CreditTransaction

pytestmark = pytest.mark.django_db
TRANSACTIONS = "/api/billing/wallet/transactions"


@pytest.fixture
def page(ask, owner):
    def get(**query):
        answer = ask(
            "GET",
            TRANSACTIONS + "?" + "&".join(f"{k}={v}" for k, v in query.items()),
            as_user=owner,
        )
        assert answer.status_code == 200, answer.content
        return answer.json()

    return get


@pytest.fixture
def refusal(ask, owner):
    def get(query):
        answer = ask("GET", f"{TRANSACTIONS}?{query}", as_user=owner)
        assert answer.status_code == 400, answer.content
        assert answer.json()["code"] == "bad_input"
        return answer.json()

    return get


def sequences(page):
    return [entry["sequence"] for entry in page["transactions"]]


def test_given_a_call_that_was_charged_then_its_entry_says_everything(page, organization):
    reserve(organization, "call-1")
    commit("call-1", 61)
    entry = CreditTransaction.objects.get(type="call_deduction")

    newest, _ = page()["transactions"]

    assert newest == {
        "id": str(entry.pk),
        "sequence": 2,
        "type": "call_deduction",
        "direction": "debit",
        "amount_pence": 98,
        "balance_before_pence": 10_000,
        "balance_after_pence": 9_902,
        "owed_before_pence": 0,
        "owed_after_pence": 0,
        "description": entry.description,
        "call_id": "call-1",
        "created_at": entry.created_at.isoformat().replace("+00:00", "Z"),
    }


def test_given_no_entries_then_the_page_is_empty(ask, staff):
    answer = ask("GET", TRANSACTIONS, as_user=staff, organization=OrganizationFactory())

    assert answer.json() == {
        "transactions": [],
        "pagination": {"limit": 20, "next": None, "previous": None},
    }


def test_given_many_entries_then_pages_lead_down_and_up_again(page, organization):
    write_history(organization, 49)

    down = [page(limit=20)]
    while down[-1]["pagination"]["next"]:
        down.append(page(limit=20, cursor=down[-1]["pagination"]["next"]))

    assert [sequences(each) for each in down] == [
        list(range(50, 30, -1)),
        list(range(30, 10, -1)),
        list(range(10, 0, -1)),
    ]
    assert down[0]["pagination"]["previous"] is None
    up = page(limit=20, cursor=down[2]["pagination"]["previous"])
    assert up == down[1]
    top = page(limit=20, cursor=up["pagination"]["previous"])
    assert top["transactions"] == down[0]["transactions"]
    assert top["pagination"] == down[0]["pagination"]


@pytest.mark.parametrize("entries", [19, 20, 21])
def test_given_a_page_that_is_just_full_then_next_is_right(page, organization, entries):
    write_history(organization, entries - 1)

    first = page()

    assert (first["pagination"]["next"] is not None) == (entries > 20)


def test_given_new_entries_between_two_pages_then_nothing_is_shown_twice_or_left_out(
    page, organization
):
    write_history(organization, 9)

    first = page(limit=5)
    for _ in range(7):
        top_up(organization, 1)
    second = page(limit=5, cursor=first["pagination"]["next"])

    assert sequences(first) + sequences(second) == list(range(10, 0, -1))
    newer = page(limit=5, cursor=second["pagination"]["previous"])
    assert sequences(newer) == list(range(10, 5, -1))
    newest = page(limit=5, cursor=newer["pagination"]["previous"])
    assert sequences(newest) == list(range(15, 10, -1))


def test_given_a_type_then_only_its_entries_are_paged(page, organization):
    for number in range(3):
        commit(f"call-{number}", 61, organization_id=organization.pk)
        top_up(organization, 1)

    first = page(type="call_deduction", limit=2)
    second = page(type="call_deduction", limit=2, cursor=first["pagination"]["next"])

    assert sequences(first) + sequences(second) == [6, 4, 2]
    assert second["pagination"]["next"] is None
    assert page(type="did")["transactions"] == []


@pytest.mark.parametrize("limit", [1, 100])
def test_given_a_limit_in_bounds_then_it_is_the_size_of_the_page(page, organization, limit):
    write_history(organization, 100)

    assert (
        len(page(limit=limit)["transactions"]) == page(limit=limit)["pagination"]["limit"] == limit
    )


@pytest.mark.parametrize(
    "limit", ["0", "101", "-1", "", "ten", "1.5", "1e2", "9" * 5_000, "%00", "NaN", "true"]
)
def test_given_a_limit_out_of_bounds_then_its_field_is_named(refusal, limit):
    refused = refusal(f"limit={limit}")

    assert list(refused["fields"]) == ["limit"]
    assert refused["error"].startswith("limit: ")


@pytest.mark.parametrize("entry_type", ["", "unknown", "TOPUP", "topup%00", "topup,bonus"])
def test_given_an_unknown_type_then_it_is_refused_and_not_ignored(refusal, entry_type):
    assert list(refusal(f"type={entry_type}")["fields"]) == ["type"]


def test_given_a_parameter_twice_then_neither_is_taken(refusal):
    assert refusal("type=topup&type=bonus")["fields"] == {"type": ["Send this once."]}


def test_given_a_cursor_that_was_damaged_then_it_is_refused(page, refusal, organization):
    write_history(organization, 9)
    cursor = page(limit=5)["pagination"]["next"]
    damaged = [cursor[:-1], cursor[1:], cursor + "A", cursor.swapcase(), "", "%00", "12", "é" * 8]
    for place in range(len(cursor)):
        other = "A" if cursor[place] != "A" else "B"
        damaged.append(cursor[:place] + other + cursor[place + 1 :])

    for text in damaged:
        assert list(refusal(f"cursor={text}")["fields"]) == ["cursor"], text


@pytest.mark.parametrize("key", ["x", "1.5", "", "9" * 5_000])
def test_given_a_cursor_of_another_list_then_it_is_refused(refusal, key):
    assert "cursor" in refusal(f"cursor={Cursor(key=key, towards_newer=False)}")["fields"]


@pytest.mark.parametrize("key", [-5, 0, 2**63, 10**40])
@pytest.mark.parametrize("towards_newer", [True, False])
def test_given_a_cursor_beyond_all_entries_then_it_leads_to_none_or_all(page, key, towards_newer):
    found = page(cursor=Cursor(key=key, towards_newer=towards_newer))

    assert sequences(found) == ([1] if (key <= 0) == towards_newer else [])


# --- Tenancy ---


def test_given_two_organizations_then_each_sees_its_own_entries(ask, owner, organization):
    theirs = OrganizationFactory(funded_pence=777)

    own = ask("GET", TRANSACTIONS, as_user=owner).json()["transactions"]
    refused = ask("GET", TRANSACTIONS, as_user=owner, organization=theirs)

    assert [entry["amount_pence"] for entry in own] == [10_000]
    assert refused.status_code == 403


def test_given_a_selector_that_forgets_its_filter_then_nobody_elses_entries_are_shown(
    page, organization, monkeypatch
):
    theirs = OrganizationFactory(funded_pence=777)
    # What the filter of the selector becomes when somebody deletes it.
    everything = CreditTransaction.objects.all()
    monkeypatch.setattr(CreditTransaction.objects, "filter", lambda **_: everything.all())
    unguarded = selectors.entries_page(organization.pk, limit=20, cursor=None)
    assert {entry.organization_id for entry in unguarded.rows} == {organization.pk, theirs.pk}

    assert [entry["amount_pence"] for entry in page()["transactions"]] == [10_000]


# --- How much work it is ---


def test_given_more_history_then_no_more_statements_are_sent(
    page, organization, django_assert_num_queries
):
    """The person, the membership, and the entries in their scope."""
    commit("call-1", 61, organization_id=organization.pk)
    with django_assert_num_queries(7):
        page(limit=100)
    write_history(organization, 10_000)
    with django_assert_num_queries(7):
        assert len(page(limit=100)["transactions"]) == 100


@pytest.mark.parametrize("entry_type", [None, "topup", "bonus", "did"])
@pytest.mark.parametrize(
    "cursor",
    [
        None,
        Cursor(key=10_000, towards_newer=False),
        Cursor(key=10_000, towards_newer=True),
    ],
    ids=str,
)
def test_given_a_long_history_then_a_page_reads_its_own_rows_only(cursor, entry_type):
    """Bonuses are rare here: without an index, all entries would be read for the only one."""
    organizations = [OrganizationFactory() for _ in range(2)]
    for each in organizations:
        write_history(each, 20_000)
    chosen = organizations[0].pk

    with tenant_scope(chosen), CaptureQueriesContext(connection) as captured:
        selectors.entries_page(chosen, limit=20, entry_type=entry_type, cursor=cursor)
    with tenant_scope(chosen), connection.cursor() as database:
        database.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {captured[0]['sql']}")
        found = database.fetchone()[0]
    plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]

    assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 30, plan
