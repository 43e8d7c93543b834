"""The pages of the wallet: who sees what, what they say, and what they never do."""

import re
import uuid

import pytest
from django.test import Client

from tests.factories import (
    MembershipFactory,
    OrganizationFactory,
    TopUpFactory,
    UserFactory,
    staff_of,
)
from tests.pages.visitors import PART, links, sign_in, text_of
from tests.wallets.invariants import nothing_changes
from tests.wallets.steps import buy, commit, reserve, top_up
from tests.wallets.stripe import keep_card, payment_of
from wallets.alerts import recipients
from wallets.models import AlertRecipient, Organization, StaffAction, TopUp
from wallets.payments import stripe_client, topups

pytestmark = pytest.mark.django_db

WALLET, TOP_UP, RECHARGE = "/wallet/", "/wallet/top-up/", "/wallet/auto-recharge/"
TRANSACTIONS, STATEMENTS, ALERTS = (
    "/wallet/transactions/",
    "/wallet/statements/",
    "/wallet/e-mails/",
)
CALLS, LIVE = "/calls/", "/calls/live/"
PAGES = [WALLET, TRANSACTIONS, STATEMENTS, TOP_UP, RECHARGE, ALERTS, CALLS, LIVE]


@pytest.fixture
def stripes_page(monkeypatch):
    """Stripe makes a page to pay on; `asked` has what it was asked for."""
    asked = []

    def create(**given):
        asked.append(given)
        return stripe_client.CheckoutSession(
            id=f"cs_{uuid.uuid4().hex}",
            url="https://checkout.stripe.com/c/pay/cs_1",
            status="open",
            payment_status="unpaid",
            payment_intent_id="",
            amount_pence=given["amount_pence"],
            currency="gbp",
            livemode=False,
        )

    monkeypatch.setattr(stripe_client, "create_checkout_session", create)
    monkeypatch.setattr(stripe_client, "create_customer", lambda organization_id: "cus_1")
    return asked


# --- Who may see them -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page", [*PAGES, f"{TOP_UP}6a5cf0b6-6f7f-4dc5-8f4c-1d6ea1d3c5f1/", "/organizations/"]
)
def test_given_nobody_signed_in_then_the_page_leads_to_sign_in_and_back(client, page):
    response = client.get(page)
    assert response.status_code == 302
    assert response["Location"] == f"/sign-in/?next={page}"


def test_given_a_password_when_signed_in_then_the_wallet_is_shown(client, organization):
    user = UserFactory(username="ada")
    user.set_password("a long password")
    user.save()
    MembershipFactory(user=user, organization=organization)

    wrong = client.post("/sign-in/", {"username": "ada", "password": "wrong"})
    right = client.post("/sign-in/", {"username": "ada", "password": "a long password"})

    assert "Please enter a correct username and password" in text_of(wrong)
    assert right["Location"] == WALLET
    assert client.get("/")["Location"] == WALLET
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert client.get(WALLET).status_code == 302


def test_given_no_membership_then_nothing_is_shown(client, organization):
    client.force_login(UserFactory())
    response = client.get(WALLET)
    assert response.status_code == 403
    assert "You do not belong to any organization" in text_of(response)
    assert "Clinic" not in text_of(response)


def test_given_several_organizations_then_one_is_chosen_and_remembered(client, organization):
    user = sign_in(client, organization)
    other = MembershipFactory(user=user, organization=OrganizationFactory(name="Shop")).organization

    assert client.get(WALLET)["Location"] == "/organizations/"
    assert "Shop" in text_of(client.get("/organizations/"))
    assert client.post("/organizations/", {"organization": str(other.pk)})["Location"] == WALLET
    assert "Shop" in text_of(client.get(WALLET))


def test_given_another_tenants_organization_when_chosen_then_it_is_refused(client, owner):
    theirs = OrganizationFactory(name="Theirs", funded_pence=77_777)

    response = client.post("/organizations/", {"organization": str(theirs.pk)})

    assert response.status_code == 403
    assert "£777.77" not in text_of(client.get(WALLET))


def test_given_a_membership_that_ended_when_it_was_chosen_then_it_is_refused(client, organization):
    user = sign_in(client, organization)
    client.post("/organizations/", {"organization": str(organization.pk)})
    user.memberships.all().delete()
    assert client.get(WALLET).status_code == 403


def test_staff_open_any_organization_by_its_id(client, organization):
    client.force_login(staff_of("support"))
    assert client.get(WALLET)["Location"] == "/organizations/"
    assert client.post("/organizations/", {"organization": "clinic"}).status_code == 400
    client.post("/organizations/", {"organization": str(organization.pk)})
    page = client.get(WALLET)
    assert "Clinic &amp; Sons" in text_of(page)
    assert f'class="button" href="{TOP_UP}"' not in text_of(page)


@pytest.mark.parametrize("group", ["support", "finance"])
def test_staff_without_the_permission_to_act_for_customers_only_look(client, organization, group):
    client.force_login(staff_of(group))
    client.post("/organizations/", {"organization": str(organization.pk)})
    named = {"organization": str(organization.pk)}
    with nothing_changes():
        assert client.post("/wallet/auto-recharge/", named).status_code == 403
        refused = client.post(TOP_UP, {"amount_pence": "50", **named})
        assert refused.status_code == 403
        assert "staff of the group admin" in text_of(refused)
    assert not StaffAction.objects.exists()


def test_staff_of_no_group_open_no_organization(client, organization):
    client.force_login(UserFactory(is_staff=True))
    for named in (organization.pk, uuid.uuid4()):
        refused = client.post("/organizations/", {"organization": str(named)})
        assert refused.status_code == 403
        assert "ask an administrator" in text_of(refused)
    assert client.get(WALLET)["Location"] == "/organizations/"


def test_what_staff_do_for_a_customer_on_its_pages_is_recorded(client, organization):
    user = staff_of("admin")
    client.force_login(user)
    client.post("/organizations/", {"organization": str(organization.pk)})
    client.get("/wallet/e-mails/")
    assert not StaffAction.objects.exists()

    sent = {"addresses": "it@example.com", "organization": str(organization.pk)}
    client.post("/wallet/e-mails/", sent)

    asked, done = StaffAction.objects.order_by("at")
    for record in (asked, done):
        assert (record.user, record.organization) == (user, organization)
        assert record.asked["path"] == "/wallet/e-mails/"
        assert "it@example.com" in record.asked["sent"]
        assert "csrf" not in record.asked["sent"]
        assert record.before["balance_pence"] == 10_000
    assert (asked.action, asked.after) == ("act for the customer", None)
    assert (done.action, done.after["balance_pence"]) == ("acted for the customer", 10_000)


def test_what_a_customer_does_is_not_in_the_log_of_staff(client, owner):
    client.post("/wallet/e-mails/", {"addresses": "it@example.com"})
    assert not StaffAction.objects.exists()


@pytest.fixture
def two_tabs(client, organization):
    """Somebody of two organizations, who has one's page open and has chosen the other since."""
    user = sign_in(client, organization)
    other = OrganizationFactory(name="Other", funded_pence=22_201)
    MembershipFactory(user=user, organization=other)
    client.post("/organizations/", {"organization": str(organization.pk)})
    assert f'value="{organization.pk}"' in text_of(client.get("/wallet/e-mails/"))
    client.post("/organizations/", {"organization": str(other.pk)})
    return other


@pytest.mark.parametrize(
    "address",
    [
        TOP_UP,
        "/wallet/auto-recharge/",
        "/wallet/auto-recharge/forget-card/",
        "/wallet/e-mails/",
        "/numbers/buy/",
        "/numbers/release/0197a3f0-0000-7000-8000-000000000000/",
    ],
)
@pytest.mark.parametrize("part", [{}, PART])
def test_a_page_of_another_organization_than_the_chosen_one_does_nothing(
    client, organization, two_tabs, address, part
):
    with nothing_changes():
        for named in ({"organization": str(organization.pk)}, {}):
            sent = {"addresses": "it@example.com", "amount_pence": "50", **named}
            answer = client.post(address, sent, headers=part)
            where = answer["HX-Redirect"] if part else answer["Location"]
            assert where == WALLET
            assert "Nothing was done: you have chosen another" in text_of(client.get(WALLET))
    assert not AlertRecipient.objects.exists()


def test_a_part_of_another_organizations_page_loads_the_page_anew(client, organization, two_tabs):
    for address in (WALLET, "/calls/live/"):
        asked = {**PART, "X-Org-Id": str(organization.pk)}
        answer = client.get(address, headers=asked)
        assert answer["HX-Refresh"] == "true"
        assert "222" not in text_of(answer)
        assert client.get(address, headers=PART | {"X-Org-Id": str(two_tabs.pk)}).status_code == 200


def test_each_page_names_its_organization_and_leads_to_the_choice(client, organization, two_tabs):
    for address in (WALLET, "/calls/", "/numbers/", "/wallet/transactions/", TOP_UP):
        page = text_of(client.get(address))
        assert '<span class="who">Other <a href="/organizations/">' in page
        assert f'{{"X-Org-Id": "{two_tabs.pk}"}}' in page


def test_who_belongs_to_one_organization_is_led_to_no_choice(client, owner):
    assert "/organizations/" not in text_of(client.get(WALLET))


def test_another_tenants_top_up_is_not_there(client, owner):
    theirs = TopUpFactory(organization=OrganizationFactory())
    assert client.get(f"{TOP_UP}{theirs.pk}/").status_code == 404


# --- The wallet -------------------------------------------------------------------------------


def test_the_wallet_says_what_is_there_and_what_it_is_good_for(client, owner, organization):
    reserve(organization)
    page = text_of(client.get(WALLET))
    assert "£97.55" in page
    assert "about 199 minutes of calls at £0.49 a minute" in page
    assert "£2.45" in page
    assert "+£100.00" in page
    assert "Owed" not in page


def test_what_is_owed_is_said_and_a_debt_is_shown_as_one(client, organization, owner):
    Organization.objects.filter(pk=organization.pk).update(debt_limit_pence=500)
    commit("call", 60 * 250, organization_id=organization.pk)
    page = text_of(client.get(WALLET))
    assert "−£5.00" in page
    assert "£17.50 is owed" in page
    assert "The balance is low" in page


def test_what_is_owed_is_said_to_be_paid_first_only_where_it_is(client, organization, owner):
    commit("call", 60 * 250, organization_id=organization.pk)
    pages = (WALLET, TOP_UP, "/numbers/buy/?country=GB&number_type=local")
    for recovers in (True, False):
        Organization.objects.filter(pk=organization.pk).update(recovers_owed_from_topups=recovers)
        for address in pages:
            assert ("paid first" in text_of(client.get(address))) is recovers, address
    # What is owed, which stays owed, is not asked for.
    assert "Top up £25.00" in text_of(client.get(pages[-1]))


def test_an_owner_turns_automatic_top_up_off_whatever_the_amounts(
    client, owner, organization, settings
):
    Organization.objects.filter(pk=organization.pk).update(
        auto_recharge_enabled=True, auto_recharge_amount_pence=2_500
    )
    settings.WALLET_MIN_TOPUP_PENCE = 5_000
    amounts = {"threshold_pence": "10", "amount_pence": "25", "monthly_cap_pence": "500"}
    page = "/wallet/auto-recharge/"
    assert client.post(page, {"enabled": "on", **amounts}).status_code == 400
    for given in (amounts, {"organization": str(organization.pk)}):
        Organization.objects.filter(pk=organization.pk).update(auto_recharge_enabled=True)
        assert client.post(page, given).status_code == 302
        organization.refresh_from_db()
        assert not organization.auto_recharge_enabled
        assert organization.auto_recharge_amount_pence == 2_500
    assert client.post(page, amounts | {"amount_pence": "26"}).status_code == 400
    assert client.post(page, {"enabled": "on"}).status_code == 400


def test_an_address_that_is_too_long_is_refused_at_its_field(client, owner):
    sent = {"addresses": f"a@{'b' * 60}.{'c' * 60}.{'d' * 60}.{'e' * 60}.{'f' * 60}.com"}
    refused = client.post("/wallet/e-mails/", sent)
    assert refused.status_code == 400
    assert "is too long for an e-mail address" in text_of(refused)


def test_a_suspended_account_says_so(client, owner, organization):
    Organization.objects.filter(pk=organization.pk).update(status="suspended")
    assert "This account is suspended" in text_of(client.get(WALLET))


def test_the_part_that_refreshes_is_the_figures_alone(client, owner):
    part = client.get(WALLET, headers=PART).content.decode()
    assert "£100.00" in part
    assert "<html" not in part


def test_a_part_is_sent_again_only_when_something_moved(client, owner, organization):
    def refreshed(page):
        address = re.search(r'hx-get="(/wallet/\?state=[^"]+)"', page.content.decode())[1]
        return client.get(address, headers=PART)

    first = client.get(WALLET)
    assert refreshed(first).status_code == 204
    reserve(organization)
    second = refreshed(first)
    assert "£97.55" in text_of(second)
    assert 'hx-swap-oob="true"' in text_of(second)
    assert refreshed(second).status_code == 204


def test_given_a_session_that_ended_then_a_part_has_the_page_loaded_anew(client, owner):
    client.logout()
    assert client.get(WALLET, headers=PART)["HX-Refresh"] == "true"


def test_what_was_spent_is_drawn_by_day_and_is_there_as_a_table(client, owner, organization):
    assert "Nothing was spent in the last 30 days" in text_of(client.get(WALLET))
    buy(organization, 250)
    commit("call", 60, organization_id=organization.pk)
    page = text_of(client.get(WALLET))
    assert "<strong>£2.99</strong> in the last 30 days" in page
    assert page.count('class="bar"') == 30
    assert re.search(r'<td class="amount">£2.99</td>', page)


# --- Transactions -----------------------------------------------------------------------------


def test_transactions_are_read_by_pages_there_and_back(client, owner, organization):
    for number in range(59):
        buy(organization, 1, description=f"Number {number}.")
    first = client.get(TRANSACTIONS)
    [(_, older)] = links(first)
    second = client.get(TRANSACTIONS + older)
    [(_, newer)] = links(second)

    assert first.content.decode().count("<tr>") == 51
    assert second.content.decode().count("<tr>") == 11
    assert "Number 58." in text_of(first)
    assert "Opening balance" in text_of(second)
    back = client.get(TRANSACTIONS + newer)
    assert "Number 58." in text_of(back)


def test_transactions_are_filtered_by_type(client, owner, organization):
    buy(organization, 1, description="A number.")
    page = text_of(client.get(f"{TRANSACTIONS}?type=topup"))
    assert "Opening balance" in page
    assert "A number." not in page
    assert "No such entries" in text_of(client.get(f"{TRANSACTIONS}?type=refund"))


@pytest.mark.parametrize("query", ["type=odd", "cursor=odd", "cursor=%00", "type=%00"])
def test_an_address_that_was_changed_shows_the_first_page(client, owner, query):
    assert "Opening balance" in text_of(client.get(f"{TRANSACTIONS}?{query}"))


def test_an_entry_shows_what_it_moved_and_leads_to_its_call(client, owner, organization):
    commit("call/1 &", 60 * 300, organization_id=organization.pk)
    entry = organization.entries.get(type="call_deduction")
    page = text_of(client.get(f"{TRANSACTIONS}{entry.pk}/"))
    assert "−£100.00" in page
    assert "£100.00 before, £0.00 after" in page
    assert "£0.00 before, £47.00 after" in page
    assert 'href="/calls/find/?id=call%2F1%20%26"' in page
    part = client.get(f"{TRANSACTIONS}{entry.pk}/", headers=PART)
    assert "<html" not in text_of(part)


def test_another_tenants_entry_is_not_there(client, owner):
    theirs = OrganizationFactory(funded_pence=77_777).entries.get()
    assert client.get(f"{TRANSACTIONS}{theirs.pk}/").status_code == 404


def test_transactions_of_others_are_not_there(client, owner):
    OrganizationFactory(funded_pence=77_777)
    assert "£777.77" not in text_of(client.get(TRANSACTIONS))


# --- A forgotten password -----------------------------------------------------------------------


def test_a_link_by_email_sets_a_new_password_once_and_ends_sessions(client, owner, mailoutbox):
    owner.email = "ada@example.com"
    owner.set_password("an old password")
    owner.save()
    elsewhere = Client()
    elsewhere.force_login(owner)
    client.logout()

    client.post("/password-reset/", {"email": "ada@example.com"})
    [message] = mailoutbox
    link = re.search(r"https?://[^/]+(/password-reset/\S+)", message.body)[1]
    form = client.get(link)["Location"]
    new = {"new_password1": "a new passphrase", "new_password2": "a new passphrase"}
    assert client.post(form, new)["Location"] == "/password-reset/done/"

    assert "used or has run out" in text_of(client.get(link, follow=True))
    assert elsewhere.get(WALLET).status_code == 302
    credentials = {"username": owner.username, "password": "a new passphrase"}
    assert client.post("/sign-in/", credentials)["Location"] == WALLET


def test_a_strangers_address_gets_no_email_and_the_same_answer(client, mailoutbox):
    answer = client.post("/password-reset/", {"email": "nobody@example.com"}, follow=True)
    assert "a link is on its way" in text_of(answer)
    assert mailoutbox == []


# --- Topping up -------------------------------------------------------------------------------


def test_given_an_amount_then_stripes_page_is_next(client, owner, organization, stripes_page):
    response = client.post(TOP_UP, {"amount_pence": "£1,250.50", "save_card": "on"})

    assert response.status_code == 302
    assert response["Location"].startswith("https://checkout.stripe.com/")
    topup = TopUp.objects.get()
    assert (topup.organization, topup.amount_pence) == (organization, 125_050)
    assert (topup.saves_card, topup.requested_by) == (True, owner)
    assert stripes_page[0]["return_url"].endswith(f"{TOP_UP}{topup.pk}/")


def test_without_consent_the_card_is_not_kept(client, owner, stripes_page):
    client.post(TOP_UP, {"amount_pence": "50"})
    assert stripes_page[0]["save_card"] is False


@pytest.mark.parametrize(
    "amount",
    ["", "ten", "24.99", "10000.01", "50.001", "-50", "NaN", "Infinity", "1e3000", "\u0665\u0660"],
)
def test_given_no_amount_that_can_be_then_it_says_why_and_nothing_begins(
    client, owner, stripes_page, amount
):
    response = client.post(TOP_UP, {"amount_pence": amount})
    assert response.status_code == 400
    assert 'role="alert"' in text_of(response)
    assert not TopUp.objects.exists()


def test_given_stripe_down_then_it_says_so(client, owner, monkeypatch):
    def down(*_args, **_given):
        raise stripe_client.PaymentUnavailable("Stripe was not reached.")

    monkeypatch.setattr(stripe_client, "create_customer", down)
    response = client.post(TOP_UP, {"amount_pence": "50"})
    assert response.status_code == 503
    assert "try again later" in text_of(response)
    assert TopUp.objects.get().status == "failed"


def test_a_viewer_sees_pages_and_changes_nothing(client, organization, stripes_page):
    sign_in(client, organization, role="viewer")
    for page in PAGES:
        assert client.get(page).status_code == 200
    assert "Only an owner" in text_of(client.get(TOP_UP))
    assert client.post(TOP_UP, {"amount_pence": "50"}).status_code == 403
    assert client.post(RECHARGE, {"amount_pence": "50"}).status_code == 403
    assert not TopUp.objects.exists()


def test_a_viewer_who_was_refused_still_acts_for_the_organization_chosen(client, organization):
    user = sign_in(client, organization, role="viewer")
    MembershipFactory(user=user)
    client.post("/organizations/", {"organization": str(organization.pk)})
    sent = {"amount_pence": "50", "organization": str(organization.pk)}
    assert client.post(TOP_UP, sent).status_code == 403
    assert "Clinic &amp; Sons" in text_of(client.get(WALLET))


def test_a_link_of_an_email_fills_the_amount_in(client, owner):
    assert 'value="30.00"' in text_of(client.get(f"{TOP_UP}?amount_pence=3000"))
    for odd in ("x", "-1", "9" * 400, "%D9%A5"):
        assert client.get(f"{TOP_UP}?amount_pence={odd}").status_code == 200


def test_a_top_up_is_pending_until_the_webhook_and_then_says_the_new_balance(
    client, owner, organization
):
    topup = TopUpFactory(organization=organization)
    page = f"{TOP_UP}{topup.pk}/"

    assert "£50.00 pending" in text_of(client.get(page))
    assert 'hx-trigger="every 2s"' in text_of(client.get(page, headers=PART))

    topups.credit(payment_of(topup, "pi_1"))

    part = text_of(client.get(page, headers=PART))
    assert "£50.00 was added" in part
    assert "£150.00" in part
    assert "hx-trigger" not in part


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("processing", "takes some days"),
        ("failed", "Not paid.</strong> Your card was declined."),
        ("expired", "Not paid in time"),
    ],
)
def test_each_end_of_a_top_up_is_said_in_a_sentence(client, owner, organization, status, said):
    finished = {} if status == "processing" else {"finished_at": "2026-03-02T10:00:00Z"}
    topup = TopUpFactory(
        organization=organization, status=status, failure="Your card was declined.", **finished
    )
    assert said in text_of(client.get(f"{TOP_UP}{topup.pk}/"))


# --- Automatic top-up -------------------------------------------------------------------------


SETTINGS = {
    "enabled": "on",
    "amount_pence": "75",
    "threshold_pence": "12.50",
    "monthly_cap_pence": "300",
}


def test_given_a_kept_card_then_automatic_top_up_is_set(client, owner, organization):
    keep_card(organization)
    assert "Visa ending in 4242" in text_of(client.get(RECHARGE))
    assert client.post(RECHARGE, SETTINGS)["Location"] == RECHARGE
    organization.refresh_from_db()
    assert organization.auto_recharge_enabled
    assert organization.auto_recharge_amount_pence == 7_500
    assert organization.auto_recharge_threshold_pence == 1_250
    assert organization.auto_recharge_monthly_cap_pence == 30_000


def test_without_a_card_it_says_how_to_have_one_kept(client, owner, organization):
    response = client.post(RECHARGE, SETTINGS)
    assert response.status_code == 400
    assert "top up once" in text_of(response)
    organization.refresh_from_db()
    assert not organization.auto_recharge_enabled


def test_amounts_that_cannot_be_are_said_at_their_field(client, owner, organization):
    keep_card(organization)
    response = client.post(RECHARGE, SETTINGS | {"amount_pence": "1"})
    assert response.status_code == 400
    assert "A recharge is from £25.00" in text_of(response)


def test_a_kept_card_is_forgotten(client, owner, organization, monkeypatch):
    keep_card(organization)
    forgotten = []
    monkeypatch.setattr(stripe_client, "detach_payment_method", forgotten.append)
    page = client.post(f"{RECHARGE}forget-card/", follow=True)
    assert "The card is forgotten" in text_of(page)
    assert "No card is kept yet" in text_of(page)
    assert len(forgotten) == 1


def test_given_stripe_down_then_the_card_is_forgotten_here_and_that_is_said(
    client, owner, organization, monkeypatch
):
    def down(_method_id):
        raise stripe_client.PaymentUnavailable("Stripe was not reached.")

    keep_card(organization)
    monkeypatch.setattr(stripe_client, "detach_payment_method", down)
    page = text_of(client.post(f"{RECHARGE}forget-card/", follow=True))
    assert "Stripe could not be reached" in page
    assert "No card is kept yet" in page


def test_a_viewer_cannot_have_the_card_forgotten(client, organization):
    sign_in(client, organization, role="viewer")
    keep_card(organization)
    assert "Forget this card" not in text_of(client.get(RECHARGE))
    assert client.post(f"{RECHARGE}forget-card/").status_code == 403
    assert "Visa ending in 4242" in text_of(client.get(RECHARGE))


# --- Who gets e-mails -------------------------------------------------------------------------


def test_addresses_are_set_changed_and_taken_away(client, owner, organization):
    def addresses():
        return recipients.addresses_of(organization)

    owner.email = "owner@example.com"
    owner.save()
    assert "e-mails go to owner@example.com" in text_of(client.get(ALERTS))

    client.post(ALERTS, {"addresses": "b@example.com\r\na@example.com\r\nb@example.com"})
    assert addresses() == ["a@example.com", "b@example.com"]
    assert "a@example.com b@example.com" in text_of(client.get(ALERTS))

    client.post(ALERTS, {"addresses": "b@example.com c@example.com"})
    assert addresses() == ["b@example.com", "c@example.com"]
    client.post(ALERTS, {"addresses": " "})
    assert addresses() == ["owner@example.com"]


@pytest.mark.parametrize("addresses", ["a@example.com nobody", "@", " ".join(["x@y.zz"] * 1000)])
def test_what_is_no_address_is_said_and_nothing_changes(client, owner, organization, addresses):
    AlertRecipient.objects.create(organization=organization, email="a@example.com")
    response = client.post(ALERTS, {"addresses": addresses})
    assert response.status_code == 400
    assert 'role="alert"' in text_of(response)
    assert recipients.chosen_addresses(organization.pk) == ["a@example.com"]


def test_too_many_addresses_are_refused(client, owner, organization):
    many = " ".join(f"a{number}@example.com" for number in range(21))
    assert "at most 20" in text_of(client.post(ALERTS, {"addresses": many}))


def test_a_viewer_cannot_set_addresses(client, organization):
    sign_in(client, organization, role="viewer")
    assert client.post(ALERTS, {"addresses": "a@example.com"}).status_code == 403
    assert not AlertRecipient.objects.exists()


# --- All of them ------------------------------------------------------------------------------


@pytest.mark.parametrize("page", [*PAGES, "/organizations/"])
def test_nothing_is_loaded_from_elsewhere_and_nothing_is_inline(client, owner, page):
    response = client.get(page)
    html = response.content.decode()
    assert "default-src 'self'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert not re.search(r'(src|href|action)="(https?:)?//', html)
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)
    assert response["Cache-Control"].startswith("max-age=0, no-cache, no-store")


def test_a_form_needs_its_token(organization, stripes_page):
    strict = Client(enforce_csrf_checks=True)
    sign_in(strict, organization)
    assert strict.post(TOP_UP, {"amount_pence": "50"}).status_code == 403
    assert not TopUp.objects.exists()


def test_where_there_is_nothing_a_page_says_so(client, owner):
    assert "Nothing here" in text_of(client.get("/no-such-page/"))


def test_topping_up_is_refused_to_nobody_who_owes(client, owner, organization, stripes_page):
    Organization.objects.filter(pk=organization.pk).update(status="suspended")
    top_up(organization, 1)
    assert client.post(TOP_UP, {"amount_pence": "50"}).status_code == 302
