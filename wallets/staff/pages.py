"""The admin's pages of commands: asked, shown with before and after, confirmed, done once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.contrib.auth.models import AbstractUser
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from voxbilling.admin import ModelAdmin, ReadOnlyAdmin
from wallets import audit
from wallets.staff.commands import Done, StaffCommand, perform, preview
from wallets.staff.editing import VERBS, RecordedAdmin
from wallets.staff.showing import Change, changes

TEMPLATE = "admin/staff/command.html"


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One row that a command is about, with what it would do to it or why it cannot."""

    target: Model
    changes: list[Change]
    refusal: str = ""


class Commands(ModelAdmin):
    """An admin page with commands: on the page of a row, and on the list for several at once."""

    commands: Sequence[type[StaffCommand]] = ()
    change_form_template = "admin/staff/change_form.html"

    def may(self, request: HttpRequest, command: type[StaffCommand]) -> bool:
        return request.user.has_perm(command.permission) and self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        return [
            path(
                f"<path:object_id>/{_slug(command)}/",
                self.admin_site.admin_view(self._page(command)),
                name=f"{self._prefix}_{_slug(command).replace('-', '_')}",
            )
            for command in self.commands
        ] + super().get_urls()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        return super().get_actions(request) | {
            _slug(command): (self._action(command), _slug(command), command.title)
            for command in self.commands
            if command.most_at_once and self.may(request, command)
        }

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        offered = self._offered(request, object_id) if request.method == "GET" else []
        context = {"commands": offered, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)

    def _offered(self, request: HttpRequest, object_id: str) -> list[dict[str, str]]:
        permitted = [command for command in self.commands if self.may(request, command)]
        target = self.find(request, object_id) if permitted else None
        if target is None:
            return []
        return [
            {
                "title": command.title,
                "icon": command.icon,
                "url": reverse(
                    f"admin:{self._prefix}_{_slug(command).replace('-', '_')}",
                    args=[quote(target.pk)],
                ),
            }
            for command in permitted
            if command.applies_to(target)
        ]

    def find(self, request: HttpRequest, object_id: str) -> Any:
        """The row that an address means, not locked; None if there is none."""
        try:
            return self.get_queryset(request).filter(pk=unquote(object_id)).first()
        except (ValidationError, ValueError):
            return None

    @property
    def _prefix(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def _page(self, command: type[StaffCommand]) -> Callable[..., HttpResponse]:
        def page(request: HttpRequest, object_id: str) -> HttpResponse:
            if not self.may(request, command):
                raise PermissionDenied
            target = self.find(request, object_id)
            if target is None:
                messages.warning(request, f"There is no such {self.opts.verbose_name} any more.")
                return redirect(f"admin:{self._prefix}_changelist")
            back = reverse(f"admin:{self._prefix}_change", args=[quote(target.pk)])
            form = command(request.POST or None, initial=self.initial_of(command, target))
            return self._step(request, form, [target], back) or redirect(back)

        return page

    def initial_of(self, _command: type[StaffCommand], _target: Any) -> dict[str, Any]:
        """What a form begins with."""
        return {}

    def _action(self, command: type[StaffCommand]) -> Callable[..., HttpResponse | None]:
        def action(
            _admin: Any, request: HttpRequest, queryset: QuerySet[Any]
        ) -> HttpResponse | None:
            targets = list(queryset.order_by("pk")[: command.most_at_once + 1])
            if len(targets) > command.most_at_once:
                sentence = f"Choose at most {command.most_at_once} at a time."
                messages.warning(request, sentence)
                return None
            form = command(request.POST if "step" in request.POST else None)
            return self._step(request, form, targets, request.get_full_path())

        return action

    def _step(
        self, request: HttpRequest, form: StaffCommand, targets: list[Any], back: str
    ) -> HttpResponse | None:
        """The next page of a command; None when it is done, as messages tell."""
        # Only staff who are signed in reach the admin.
        user = cast(AbstractUser, request.user)
        shown: list[Shown] = []
        if form.is_valid():
            if request.POST.get("step") == "confirm":
                refused = [_do(request, form, target, user) for target in targets]
                if len(targets) > 1 or not any(refused):
                    _tell(request, targets, refused)
                    return None
                form.add_error(None, refused[0])
            else:
                shown = [_show(form, target, user) for target in targets]
                if len(shown) == 1 and shown[0].refusal:
                    form.add_error(None, shown[0].refusal)
        to_confirm = form.is_valid() and any(not each.refusal for each in shown)
        context = {
            **self.admin_site.each_context(request),
            "title": form.title if len(targets) != 1 else f"{form.title}: {targets[0]}",
            "form": form,
            "targets": targets,
            "shown": shown,
            "to_confirm": to_confirm,
            "back": back,
            "opts": self.opts,
            "action": request.POST.get("action", ""),
            "action_checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, TEMPLATE, context)


class ReadOnlyCommands(Commands, ReadOnlyAdmin):
    """Rows that nobody edits, and on which commands act."""


def actions(site: admin.AdminSite) -> set[str]:
    """The name of everything that staff can do, as the log has it."""
    found = {audit.ACT_FOR_CUSTOMER, audit.ACTED_FOR_CUSTOMER, audit.CHANGE_OWN_PASSWORD}
    for model_admin in site._registry.values():
        found |= {command.action for command in getattr(model_admin, "commands", ())}
        if isinstance(model_admin, RecordedAdmin):
            found |= {model_admin.action_name(verb) for verb in VERBS}
            # With a user, for one, go the memberships.
            found |= {f"delete {each.model._meta.verbose_name}" for each in model_admin.inlines}
    return found


def _slug(command: type[StaffCommand]) -> str:
    return command.action.replace(" ", "-")


def _show(form: StaffCommand, target: Any, user: AbstractUser) -> Shown:
    try:
        form.prepare(target.pk)
        done = preview(form, target.pk, user)
    except form.refusals as refusal:
        return Shown(target=target, changes=[], refusal=str(refusal))
    return Shown(target=target, changes=changes(done.before, done.after))


def _do(request: HttpRequest, form: StaffCommand, target: Any, user: AbstractUser) -> str:
    """Do it and say so; returns why not, or nothing."""
    try:
        form.prepare(target.pk)
        done = perform(form, target.pk, user)
    except form.refusals as refusal:
        return str(refusal)
    if done.duplicate:
        messages.warning(request, f"{form.title}, {target}: done before, and not done again.")
        return ""
    messages.success(request, f"{form.title}, {target}: {_told(done)} {form.follow(target.pk)}")
    return ""


def _tell(request: HttpRequest, targets: list[Any], refused: list[str]) -> None:
    for target, refusal in zip(targets, refused, strict=True):
        if refusal:
            messages.error(request, f"{target}: {refusal}")


def _told(done: Done) -> str:
    changed = [str(change) for change in changes(done.before, done.after) if change.is_changed]
    return ("; ".join(changed) or "nothing changed") + "."
