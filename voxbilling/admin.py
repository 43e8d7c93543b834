"""What the apps' admin pages share."""

import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from django.contrib import admin
from django.contrib.admin.utils import help_text_for_field
from django.contrib.admin.views.main import ERROR_FLAG, ORDER_VAR
from django.db import DataError
from django.db.models import Model, Q, QuerySet, UUIDField
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from voxbilling.storable_text import is_storable, storable
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


class _OddAddresses(ModelAdmin):
    """What addresses of lists may ask for: what our own pages lead to, and nothing else.

    Django lets them name any lookup of any column, also those that read a long table from end to
    end, and those that the database refuses.
    """

    def lookup_allowed(self, lookup: str, _value: str, request: HttpRequest) -> bool:
        return lookup in {
            "organization__id__exact",
            *(f"{name}__{side}" for name in ("at", "created_at") for side in ("gte", "lt")),
            *(
                parameter
                for each in self.get_list_filter(request)
                for parameter in _parameters(each)
            ),
        }

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # As Django itself does with values that are none of their column.
        odd = redirect(f"{request.path}?{ERROR_FLAG}=1")
        if not is_storable(unquote(request.GET.urlencode())):
            return odd
        try:
            return super().changelist_view(request, extra_context)
        except (DataError, OverflowError):
            return odd

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        return super().get_search_results(request, queryset, storable(search_term))


def _parameters(list_filter: Any) -> set[str]:
    """What a filter of a list asks for in the address."""
    if isinstance(list_filter, str):
        sides = ("exact", "isnull", "gte", "lt", "id__exact")
        return {f"{list_filter}__{side}" for side in sides}
    return {list_filter.parameter_name}


class PoundsAdmin(_OddAddresses):
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

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Django would sort by what the address names all the same.
        if ORDER_VAR in request.GET:
            sorted_by_time = request.GET.copy()
            del sorted_by_time[ORDER_VAR]
            return redirect(f"{request.path}?{sorted_by_time.urlencode()}")
        return super().changelist_view(request, extra_context)

    def get_search_results(
        self, _request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = storable(search_term).strip()
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
