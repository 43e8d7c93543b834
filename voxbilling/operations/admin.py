"""Staff's view of people: who may sign in, and what they may do."""

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from wallets.staff.editing import RecordedAdmin

if TYPE_CHECKING:
    PeopleAdmin = UserAdmin[User]
else:
    PeopleAdmin = UserAdmin

admin.site.unregister(User)
admin.site.unregister(Group)
# Each row is deleted on its own page, in the transaction that records it.
admin.site.disable_action("delete_selected")


@admin.register(User)
class StaffUserAdmin(PeopleAdmin, RecordedAdmin):  # type: ignore[misc] # another get_form
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "is_active", "is_staff", "is_superuser", "last_login"]
    search_fields = ["username__istartswith", "email__istartswith"]

    def user_change_password(
        self,
        request: HttpRequest,
        id: str,  # noqa: A002 - Django's own name
        form_url: str = "",
    ) -> HttpResponse:
        with transaction.atomic():
            return super().user_change_password(request, id, form_url)


@admin.register(Group)
class StaffGroupAdmin(GroupAdmin, RecordedAdmin):
    pass
