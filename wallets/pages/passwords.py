"""A link by e-mail to set a new password; each address may ask for so many."""

from typing import Any

from django.contrib.auth.views import PasswordResetView
from django.http import HttpResponse
from django.template.response import TemplateResponse
from rest_framework.exceptions import Throttled

from voxbilling.api import throttles
from voxbilling.sign_in import address


class ResetView(PasswordResetView):
    def form_valid(self, form: Any) -> HttpResponse:
        try:
            throttles.count(throttles.RESETS_PER_ADDRESS, address(self.request) or "")
        except Throttled as throttled:
            seconds = getattr(throttled, "wait", None) or 1
            sentence = f"Too many requests: try again in {seconds} seconds."
            response = TemplateResponse(
                self.request, "registration/too_many.html", {"sentence": sentence}, status=429
            )
            response["Retry-After"] = str(seconds)
            return response
        return super().form_valid(form)
