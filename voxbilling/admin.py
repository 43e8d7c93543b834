"""What the apps' admin pages share."""

import uuid
from typing import TYPE_CHECKING, Any

from django.db.models import Model, Q, QuerySet, UUIDField
from django.http import HttpRequest

if TYPE_CHECKING:
    from django.contrib import admin
    from django.core.paginator import Paginator
    from django.forms import BaseInlineFormSet

    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    InfinitePaginator = Paginator[Any]
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
else:
    from unfold import admin as unfold
    from unfold import forms as unfold_forms
    from unfold.paginator import InfinitePaginator

    ModelAdmin = unfold.ModelAdmin
    TabularInline = unfold.TabularInline
    InlineFormSet = unfold_forms.PaginationInlineFormSet

# Of related rows, such as organizations by the beginning of their name, so many are followed.
MOST_FOLLOWED = 20


class UncountedPaginator(InfinitePaginator):
    """Pages of a table that is too long to be counted, and no further than is worth reading."""

    count = 10_000


class ReadOnlyAdmin(ModelAdmin):
    """Rows that staff look at and nobody adds, changes or deletes.

    Their tables grow for ever. So `search_fields` are lookups that an index answers: of columns of
    the table itself, or of a related one, whose keys are then looked for.
    """

    show_full_result_count = False
    paginator = UncountedPaginator
    list_per_page = 50
    list_max_show_all = 0

    def has_add_permission(self, _request: HttpRequest, *_args: Any) -> bool:
        return False

    def has_change_permission(self, _request: HttpRequest, *_args: Any) -> bool:
        return False

    def has_delete_permission(self, _request: HttpRequest, *_args: Any) -> bool:
        return False

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(pk__in=[])
        for condition in self.conditions(term):
            found |= condition
        return queryset.filter(found), False

    def conditions(self, term: str) -> list[Q]:
        """What a row may answer to a search by."""
        return [
            condition
            for lookup in self.search_fields
            if (condition := _condition(self.model, lookup, term)) is not None
        ]


def _condition(model: type[Model], lookup: str, term: str) -> Q | None:
    name, _, further = lookup.partition("__")
    field = model._meta.get_field(name)
    related = field.related_model
    if further and related and not isinstance(related, str):
        inner = _condition(related, further, term)
        rows = related._default_manager.filter(inner) if inner else related._default_manager.none()
        keys = list(rows.values_list("pk", flat=True)[:MOST_FOLLOWED])
        return Q(**{f"{name}__in": keys}) if keys else None
    target = field.target_field if related and hasattr(field, "target_field") else field
    if isinstance(target, UUIDField):
        try:
            return Q(**{lookup: uuid.UUID(term)})
        except ValueError:
            return None
    return Q(**{lookup: term})
