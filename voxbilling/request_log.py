"""The log's line for each request, and the id that all its lines carry."""

from django.http import HttpRequest
from django_structlog.middlewares import RequestMiddleware

from voxbilling import logs


class RequestLogMiddleware(RequestMiddleware):
    """Gives each request an id, and logs how it was answered; then forgets all that was learned."""

    @staticmethod
    def format_request(request: HttpRequest) -> str:
        # What people search for stands in the query, and who they are.
        return f"{request.method} {request.path}"

    @staticmethod
    def bind_user_id(request: HttpRequest) -> None:
        # Whoever was looked up; nobody is looked up for the log.
        user = getattr(request, "_cached_user", None)
        logs.learn(user_id=getattr(user, "pk", None))
