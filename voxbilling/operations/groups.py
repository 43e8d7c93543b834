"""The groups of staff, and what each may do.

Made after every `migrate`, since that is when Django has made the permissions. What is missing is
added, and nothing is taken away: what staff gave a group by hand stays.
"""

from typing import Any

from django.contrib.auth.models import Group, Permission

SUPPORT, FINANCE, ADMIN = "support", "finance", "admin"

# What finance may do besides looking.
MONEY = {
    "wallets.move_money",
    "wallets.suspend_organization",
    "wallets.add_refund",
    "wallets.change_alert",
    "calls.change_call",
    "calls.change_unbilledcall",
    "webhooks.change_webhookevent",
}
OUR_APPS = {"wallets", "telephony", "calls", "webhooks"}
PEOPLE = {"auth.user", "auth.group"}


def make_groups(**_signal: Any) -> None:
    """Give each group the permissions that it lacks."""
    wanted: dict[str, list[Permission]] = {SUPPORT: [], FINANCE: [], ADMIN: []}
    for permission in Permission.objects.select_related("content_type"):
        for name in groups_with(permission):
            wanted[name].append(permission)
    for name, permissions in wanted.items():
        group, _ = Group.objects.get_or_create(name=name)
        group.permissions.add(*permissions)


def groups_with(permission: Permission) -> set[str]:
    app, model = permission.content_type.app_label, permission.content_type.model
    if app not in OUR_APPS:
        return {ADMIN} if f"{app}.{model}" in PEOPLE else set()
    if permission.codename == f"view_{model}":
        return {SUPPORT, FINANCE, ADMIN}
    return {FINANCE, ADMIN} if f"{app}.{permission.codename}" in MONEY else {ADMIN}
