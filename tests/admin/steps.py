"""How staff use commands: ask, look at before and after, confirm."""

import uuid
from html.parser import HTMLParser

from django.urls import reverse


def page_of(row, command):
    """Where a command on a row is asked for."""
    meta = row._meta
    slug = command.action.replace(" ", "_")
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{slug}", args=[row.pk])


def list_of(row):
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_changelist")


def change_of(row):
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[row.pk])


def ask(client, row, command, *, key=None, reason="Agreed by phone", **fields):
    form = {"key": str(key or uuid.uuid4()), "reason": reason, "step": "ask", **fields}
    return client.post(page_of(row, command), form)


def ask_of_several(client, rows, command, *, reason="Agreed by phone"):
    """By the list's action, whose first page asks for the reason."""
    chosen = {
        "action": command.action.replace(" ", "-"),
        "_selected_action": [str(row.pk) for row in rows],
    }
    first = client.post(list_of(rows[0]), chosen)
    if first.status_code != 200 or "form" not in first.context:
        return first
    fields = {"key": str(uuid.uuid4()), "reason": reason, "step": "ask"}
    return client.post(list_of(rows[0]), chosen | fields)


def confirm(client, shown):
    """Press the button of the page that showed before and after, with all that it has."""
    fields = _fields_of(shown.content.decode())
    assert fields.get("step") == ["confirm"], said(shown)
    return client.post(shown.request["PATH_INFO"], fields, follow=True)


def do(client, row, command, **fields):
    return confirm(client, ask(client, row, command, **fields))


def said(response):
    return response.content.decode()


def _fields_of(page):
    fields = {}

    class Inputs(HTMLParser):
        def handle_starttag(self, tag, attrs):
            found = dict(attrs)
            if tag == "input" and found.get("name") and "name" in found:
                fields.setdefault(found["name"], []).append(found.get("value") or "")

    Inputs().feed(page)
    return fields
