"""Signing in: name and password for two tokens, and a refresh token for a new access token."""

from typing import Any

from django.contrib.auth import authenticate
from rest_framework import serializers
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.authentication import JWTAuthentication
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken

from voxbilling.api import throttles
from voxbilling.api.errors import Problem
from voxbilling.api.fields import TextField
from voxbilling.api.parsers import body_of
from voxbilling.api.schema import documented

_NOT_KEPT = {"Cache-Control": "no-store"}
_EXAMPLE_TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0b2tlbl90eXBlIjoi…"  # noqa: S105


class CredentialsSerializer(serializers.Serializer[Any]):
    username = TextField(max_length=150)
    password = TextField(max_length=1_000)


class TokensSerializer(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="For the header Authorization; lasts 30 minutes.")
    refresh = serializers.CharField(help_text="For new access tokens; lasts 7 days.")


class RefreshSerializer(serializers.Serializer[Any]):
    refresh = TextField(max_length=2_000)


class AccessSerializer(serializers.Serializer[Any]):
    access = serializers.CharField(help_text="For the header Authorization; lasts 30 minutes.")


class TokenView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @documented(
        "Sign in",
        body=CredentialsSerializer,
        answers={200: TokensSerializer},
        refusals={
            401: "The name or the password is wrong, or the account was closed.",
            429: "Too many wrong passwords for this name, or from this address.",
        },
        example_body={"username": "ada", "password": "correct horse battery staple"},
        example_answer={"access": _EXAMPLE_TOKEN, "refresh": _EXAMPLE_TOKEN},
        for_organization=False,
    )
    def post(self, request: Request) -> Response:
        """Send the access token with every other request: `Authorization: Bearer <access>`."""
        credentials = body_of(request, CredentialsSerializer)
        name = credentials["username"]
        # Counted before the password is looked at: guesses at once must not pass together.
        counted = [throttles.count(throttles.WRONG_PER_USER_NAME, name)]
        try:
            counted.append(
                throttles.count(throttles.WRONG_PER_ADDRESS, throttles.address_of(request))
            )
        except Throttled:
            throttles.give_back(counted[0])
            raise
        # Django's own: it takes as long for a name that does not exist, and refuses the inactive.
        user = authenticate(request._request, username=name, password=credentials["password"])
        if user is None:
            raise Problem(401, "wrong_credentials", "The user name or the password is wrong.")
        for key in counted:
            throttles.give_back(key)
        refresh = RefreshToken.for_user(user)
        tokens = {"access": str(refresh.access_token), "refresh": str(refresh)}
        return Response(tokens, headers=_NOT_KEPT)


class TokenRefreshView(APIView):
    authentication_classes = ()
    permission_classes = ()

    @documented(
        "Get a new access token",
        body=RefreshSerializer,
        answers={200: AccessSerializer},
        refusals={401: "The token is no refresh token, has expired, or its owner may not sign in."},
        example_body={"refresh": _EXAMPLE_TOKEN},
        example_answer={"access": _EXAMPLE_TOKEN},
        for_organization=False,
    )
    def post(self, request: Request) -> Response:
        """Works until the refresh token expires, or its owner changes the password."""
        body = body_of(request, RefreshSerializer)
        counted = throttles.count(throttles.WRONG_PER_ADDRESS, throttles.address_of(request))
        try:
            access = RefreshToken(body["refresh"]).access_token
            JWTAuthentication().get_user(access)
        except TokenError:
            raise Problem(
                401, "not_authenticated", "The refresh token is not valid: sign in again."
            ) from None
        throttles.give_back(counted)
        return Response({"access": str(access)}, headers=_NOT_KEPT)
