"""Rows that staff add, change and delete by forms, each time with a record of it."""

from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.db import DEFAULT_DB_ALIAS
from django.db.models import Model, QuerySet
from django.db.models.deletion import Collector
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse

from voxbilling.admin import PoundsAdmin, TabularInline
from wallets import audit

if TYPE_CHECKING:
    AnyForm = forms.ModelForm[Model] | forms.BaseForm
else:
    AnyForm = forms.BaseForm

# What is recorded as changed, and never with its value.
SECRETS = frozenset({"password"})
VERBS = ("add", "change", "delete")

Sides = dict[str, dict[str, Any]]


class _ComparedWithThePage:
    """What a form changes is what differs from the page that was shown.

    Compared with the row of now, it would take back whatever others changed meanwhile.
    """

    def formfield_for_dbfield(self, *args: Any, **more: Any) -> Any:
        field = super().formfield_for_dbfield(*args, **more)  # type: ignore[misc]
        if field is not None:
            field.show_hidden_initial = True
        return field


class RecordedAdmin(_ComparedWithThePage, PoundsAdmin):
    """Ordinary edits. Django itself calls `log_…` in the transaction of each."""

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Model | None:
        found = super().get_object(request, object_id, from_field)
        if found is None or request.method != "POST":
            return found
        # What is recorded as before is read under the lock.
        locked = type(found)._default_manager.select_for_update(no_key=True, of=("self",))
        row: Model | None = locked.filter(pk=found.pk).first()
        return row

    def save_model(
        self,
        _request: HttpRequest,
        obj: Any,
        form: Any,
        change: bool,  # noqa: FBT001
    ) -> None:
        # Only what the form changed: commands and sweeps write the other columns.
        columns = {field.name for field in self.opts.concrete_fields}
        changed = [name for name in form.changed_data if name in columns]
        if not change:
            obj.save()
        elif changed:
            obj.save(update_fields=changed)

    def construct_change_message(
        self,
        _request: HttpRequest,
        form: AnyForm,
        formsets: Any,
        add: bool = False,  # noqa: FBT001, FBT002 - Django's own signature
    ) -> Any:
        """What the forms change, before and after; what is passed on to `log_…`."""
        sides = _sides(self.opts.model, form, add=add)
        for formset in formsets or []:
            # Those that were left empty and those that are deleted besides are no changes.
            for row in formset.forms:
                if not row.has_changed() and row not in formset.deleted_forms:
                    continue
                # A row that was deleted has lost its key, and its form has not.
                key = row[formset.model._meta.pk.name].value() or row.instance.pk
                name = f"{formset.model._meta.verbose_name} {key}"
                if row in formset.deleted_forms:
                    if row.initial:
                        sides["before"][name], sides["after"][name] = _plain_all(row.initial), None
                    continue
                is_new = row in formset.extra_forms
                inner = _sides(formset.model, row, add=is_new)
                sides["before"][name] = None if is_new else inner["before"]
                sides["after"][name] = inner["after"]
        return sides

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        self._record(request, "add", obj, before=None, after=message["after"])

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        if not message["after"]:
            return
        self._record(request, "change", obj, **message)
        # Whose it was finds it, too.
        if left := message["before"].get("organization"):
            self._record(request, "change", obj, organization_id=UUID(left), **message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any] | list[Any]) -> Any:
        for obj in queryset:
            self._record(request, "delete", obj, before=_columns(obj), after=None)
            for row in _taken_along(obj):
                audit.record(
                    user=request.user,
                    action=f"delete {row._meta.verbose_name}",
                    target=row,
                    before=_columns(row),
                    after=None,
                )

    def history_view(
        self,
        _request: HttpRequest,
        object_id: str,
        _extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """What staff did to this row is in the log of all that they did."""
        return redirect(reverse("admin:wallets_staffaction_changelist", query={"q": object_id}))

    def _record(self, request: HttpRequest, verb: str, obj: Model, **sides: Any) -> None:
        audit.record(user=request.user, action=self.action_name(verb), target=obj, **sides)

    def action_name(self, verb: str) -> str:
        return f"{verb} {self.opts.verbose_name}"


class RecordedInline(_ComparedWithThePage, TabularInline):
    """Rows inside another's page, read under a lock when that page is saved."""

    extra = 0
    # unfold shows errors of fields only.
    template_before = "admin/staff/inline_errors.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        rows = super().get_queryset(request)
        if request.method == "POST":
            return rows.select_for_update(no_key=True, of=("self",))
        return rows


def _sides(model: type[Model], form: Any, *, add: bool) -> Sides:
    fields = [*model._meta.fields, *model._meta.many_to_many]
    names = {field.name for field in fields if field is not model._meta.pk}
    # Django's form of a new password changes one field, and names it so.
    given = form.cleaned_data if add else form.changed_data
    changed = [name for name in given if name in names]
    before = {} if add else {name: _shown(name, form.initial.get(name)) for name in changed}
    after = {name: _shown(name, form.cleaned_data.get(name)) for name in changed}
    # A password is never compared: neither side has it.
    same = {name for name in before if before[name] == after[name]} - SECRETS
    return {
        "before": {name: value for name, value in before.items() if name not in same},
        "after": {name: value for name, value in after.items() if name not in same},
    }


def _columns(obj: Model) -> dict[str, Any]:
    fields = [*obj._meta.concrete_fields, *obj._meta.many_to_many]
    return {field.name: _shown(field.name, field.value_from_object(obj)) for field in fields}


def _taken_along(obj: Model) -> list[Model]:
    """The rows that are deleted with this one, but for those that only join it with others."""
    collector = Collector(using=DEFAULT_DB_ALIAS, origin=obj)
    collector.collect([obj])
    rows = [row for found in collector.data.values() for row in found]
    rows += [row for found in collector.fast_deletes for row in found]
    return [row for row in rows if row != obj and not row._meta.auto_created]


def _plain_all(values: dict[str, Any]) -> dict[str, Any]:
    return {name: _shown(name, value) for name, value in values.items()}


def _shown(name: str, value: Any) -> Any:
    return audit.NOT_SHOWN if name in SECRETS else _plain(value)


def _plain(value: Any) -> Any:
    """A form's value as JSON can have it: rows by their key, or by name if there are several."""
    if isinstance(value, Model):
        return _plain(value.pk)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, QuerySet | list | tuple | set):
        return sorted(str(each) for each in value)
    return value
