"""New passwords: chosen by whoever has the old one, or a link that came by e-mail, of which each
address may ask for so many. Staff's are recorded as changed, like all that they do."""

from typing import Any
from urllib.parse import urlsplit

from axes.utils import reset
from django.conf import settings
from django.contrib.auth.views import (
    PasswordChangeView,
    PasswordResetConfirmView,
    PasswordResetView,
)
from django.db import transaction
from django.http import HttpResponse
from rest_framework.exceptions import Throttled

from voxbilling.api import throttles
from voxbilling.sign_in import address
from wallets import audit
from wallets.pages.base import too_many


class _RecordedOfStaff:
    def form_valid(self, form: Any) -> HttpResponse:
        with transaction.atomic():
            if form.user.is_staff:
                audit.record_own_password(form.user)
            response: HttpResponse = super().form_valid(form)  # type: ignore[misc]
        return response


class ChangeView(_RecordedOfStaff, PasswordChangeView):
    pass


class ConfirmView(_RecordedOfStaff, PasswordResetConfirmView):
    def form_valid(self, form: Any) -> HttpResponse:
        response = super().form_valid(form)
        # Wrong passwords from before the new one keep its owner out no longer.
        reset(username=form.user.get_username())
        return response


class ResetView(PasswordResetView):
    def form_valid(self, form: Any) -> HttpResponse:
        try:
            throttles.count(throttles.RESETS_PER_ADDRESS, address(self.request) or "")
        except Throttled as throttled:
            return too_many(self.request, throttled)
        # Not by the name that it was asked under, which whoever asks for somebody else chooses.
        site = urlsplit(settings.SITE_URL)
        self.extra_email_context = {"protocol": site.scheme, "domain": site.netloc}
        return super().form_valid(form)
