"""What the apps' admin pages share."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.utils import help_text_for_field
from django.db.models import Model, Q, QuerySet, UUIDField
from django.http import HttpRequest

from wallets.formats import pounds

if TYPE_CHECKING:
    from django.core.paginator import Paginator
    from django.forms import BaseInlineFormSet

    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    Uncounted = Paginator[Any]
    InlineFormSet = BaseInlineFormSet[Any, Any, Any]
else:
    from unfold import admin as unfold
    from unfold import forms as unfold_forms
    from unfold.paginator import InfinitePaginator as Uncounted

    ModelAdmin = unfold.ModelAdmin
    TabularInline = unfold.TabularInline
    InlineFormSet = unfold_forms.PaginationInlineFormSet

# Of related rows, such as organizations by the beginning of their name, so many are followed.
MOST_FOLLOWED = 20


class InfinitePaginator(Uncounted):
    """Pages of a table that is too long to be counted, and no further than is worth reading.

    By its name unfold knows that its count is none, and shows none.
    """

    count = 10_000


class PoundsAdmin(ModelAdmin):
    """Pence that are only shown are shown in pounds."""

    def get_list_display(self, request: HttpRequest) -> Any:
        return [
            _column(self.model, name) if isinstance(name, str) and name.endswith("_pence") else name
            for name in super().get_list_display(request)
        ]

    def get_form(
        self,
        request: HttpRequest,
        obj: Any = None,
        change: bool = False,  # noqa: FBT001, FBT002 - Django's own signature
        **more: Any,
    ) -> Any:
        shown = self._pence_shown(request, obj)
        return super().get_form(
            request,
            obj,
            change=change,
            labels={name: _label(name) for name in shown},
            help_texts={name: self._help(name).replace(", in pence", "") for name in shown},
            **more,
        )

    @property
    def readonly_preprocess_fields(self) -> dict[str, Callable[[str], str]]:
        """unfold's hook: what is done to the text of a field that is only shown."""
        names = [field.name for field in self.opts.concrete_fields] + list(self.readonly_fields)
        return {name: _text_in_pounds for name in names if str(name).endswith("_pence")}

    def _pence_shown(self, request: HttpRequest, obj: Any) -> list[str]:
        if self.has_change_permission(request, obj):
            shown = list(self.get_readonly_fields(request, obj))
        else:
            shown = list(self.readonly_preprocess_fields)
        return [name for name in shown if str(name).endswith("_pence")]

    def _help(self, name: str) -> str:
        return help_text_for_field(name, self.model)


def _column(model: type[Model], name: str) -> Callable[[Any], str]:
    is_stored = name in {field.name for field in model._meta.concrete_fields}

    @admin.display(description=_label(name), ordering=name if is_stored else None)
    def column(row: Any) -> str:
        pence = getattr(row, name)
        return "–" if pence is None else pounds(pence)

    return column


def _label(name: str) -> str:
    return name.removesuffix("_pence").replace("_", " ")


def _text_in_pounds(text: str) -> str:
    try:
        return pounds(int(text))
    except ValueError:
        return text


class ReadOnlyAdmin(PoundsAdmin):
    """Rows that staff look at and nobody adds, changes or deletes.

    Their tables grow for ever. So `search_fields` are lookups that an index answers: of columns of
    the table itself, or of a related one, whose keys are then looked for.
    """

    show_full_result_count = False
    # In the order of their index, and in no other.
    sortable_by: ClassVar[list[str]] = []
    paginator = InfinitePaginator
    list_per_page = 50
    list_max_show_all = 0
    list_disable_select_all = True

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
