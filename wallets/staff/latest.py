"""What an organization's page shows of it: the latest rows of each kind, and the way to all."""

from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.text import capfirst

from wallets.models import Organization
from wallets.staff.showing import in_words, label

SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Row:
    url: str
    cells: list[str]


@dataclass(frozen=True, kw_only=True)
class Latest:
    title: str
    url: str
    columns: list[str]
    rows: list[Row]


def latest(request: HttpRequest, site: admin.AdminSite, organization: Organization) -> list[Latest]:
    """One statement for each admin page that names `latest_columns`, and that staff may see."""
    return [
        _latest(model_admin, organization)
        for model_admin in site._registry.values()
        if hasattr(model_admin, "latest_columns") and model_admin.has_view_permission(request)
    ]


def _latest(model_admin: Any, organization: Organization) -> Latest:
    meta = model_admin.opts
    address = f"admin:{meta.app_label}_{meta.model_name}"
    rows = model_admin.model._default_manager.filter(organization=organization)
    return Latest(
        title=capfirst(meta.verbose_name_plural),
        url=reverse(f"{address}_changelist", query={"organization__id__exact": organization.pk}),
        columns=[label(name) for name in model_admin.latest_columns],
        rows=[
            Row(
                url=reverse(f"{address}_change", args=[row.pk]),
                cells=[_cell(row, name) for name in model_admin.latest_columns],
            )
            for row in rows.order_by(*model_admin.ordering)[:SHOWN]
        ],
    )


def _cell(row: Any, name: str) -> str:
    value = getattr(row, name)
    if hasattr(value, "tzinfo"):
        return date_format(timezone.localtime(value), "SHORT_DATETIME_FORMAT")
    return in_words(name, value)
