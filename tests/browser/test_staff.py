"""What staff do in a browser: a wallet is adjusted in two steps, and the log says who did it."""

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.e2e


def test_staff_credit_a_wallet_after_seeing_what_it_does(visit, accounts, stack):
    staff = visit()
    page = staff.page
    page.goto("/admin/")
    page.get_by_label("Username").fill(stack["staff"]["username"])
    page.get_by_label("Password").fill(stack["staff"]["password"])
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Dashboard")).to_be_visible()
    expect(page.get_by_text("Money held for customers")).to_be_visible()

    page.goto(f"/admin/wallets/organization/{accounts['Adjusted']['id']}/change/")
    page.get_by_role("link", name="Credit or debit").click()
    page.get_by_label("Credit: pay in").check()
    page.get_by_label("Amount in pounds").fill("5.50")
    page.get_by_label("Reason").fill("A call that dropped")
    page.get_by_role("button", name="Show what it does").click()
    expect(page.get_by_text("£10.00").first).to_be_visible()
    expect(page.get_by_text("£15.50").first).to_be_visible()
    page.get_by_role("button", name="Adjust the balance").click()
    expect(page.get_by_text("£15.50").first).to_be_visible()

    page.goto("/admin/wallets/staffaction/")
    row = page.get_by_role("row").filter(has_text="Adjusted").first
    expect(row).to_contain_text(stack["staff"]["username"])

    customer = visit("Adjusted")
    expect(customer.figure("Available")).to_have_text("£15.50")
    expect(customer.page.get_by_role("link", name="A call that dropped")).to_be_visible()
