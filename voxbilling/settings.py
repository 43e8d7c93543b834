"""Django settings, all from the environment (`.env` is read; `.env.example` lists every name).

Importing this module starts nothing. On a machine with nothing configured, `manage.py` and `make`
supply the environment of the embedded servers (voxbilling/stack) before they import it.
"""

import logging
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import unquote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from django.templatetags.static import static
from sentry_sdk.utils import BadDsn, Dsn

from voxbilling import logs, redaction
from voxbilling.capacity import DATABASE_POOL_MAX_CONNECTIONS
from voxbilling.environment import PROJECT_DIR, data_dir, read_dotenv

read_dotenv()
env = environ.Env()

_SHORTEST_TOKEN = 16
_YES, _NO = {"1", "true", "yes", "y", "on", "ok"}, {"0", "false", "no", "n", "off"}


def _yes_or_no(name: str, *, default: bool) -> bool:
    """A variable that is blank counts as one that is not set."""
    text = env.str(name, default="").strip().lower()
    if not text:
        return default
    if text not in _YES | _NO:
        raise ImproperlyConfigured(f"{name} is {text!r}: make it 1 or 0.")
    return text in _YES


DEBUG = _yes_or_no("DEBUG", default=False)


def _names(name: str) -> list[str]:
    """The values of a comma-separated variable, without blanks."""
    return [value.strip() for value in env.list(name, default=[]) if value.strip()]


def _whole_number(name: str, default: int, lowest: int, highest: int) -> int:
    """A bounded number; a variable that is blank counts as one that is not set."""
    text = env.str(name, default="").strip() or str(default)
    if not text.isascii() or not text.isdecimal() or not lowest <= int(text) <= highest:
        raise ImproperlyConfigured(
            f"{name} is {text!r}: make it a whole number from {lowest} to {highest}."
        )
    return int(text)


def _sids(name: str) -> dict[str, str]:
    """Twilio's ids by what they are for."""
    pairs = [pair.partition("=") for pair in _names(name)]
    if not all(key.strip() and value.strip() for key, _, value in pairs):
        raise ImproperlyConfigured(
            f"{name} must be pairs of a country with a kind and an id of Twilio's, like "
            "GB-local=BU0123456789,GB-mobile=BU9876543210."
        )
    return {key.strip(): value.strip() for key, _, value in pairs}


def _address(name: str, default: str) -> str:
    return env.str(name, default="").strip().rstrip("/") or default


def _rate(name: str, default: str) -> Decimal:
    """An exchange rate above 0."""
    text = env.str(name, default="").strip() or default
    try:
        rate = Decimal(text)
    except ArithmeticError:
        rate = Decimal(0)
    if not (rate.is_finite() and rate > 0):
        raise ImproperlyConfigured(f"{name} is {text!r}: make it a number above 0, like {default}.")
    return rate


SECRET_KEY = env.str("SECRET_KEY", default="").strip()
# The old key, while it is being changed: sessions and live calls' control URLs outlast the change.
SECRET_KEY_FALLBACKS = _names("SECRET_KEY_FALLBACKS")
DATABASE_URL = env.str("DATABASE_URL", default="")
REDIS_URL = env.str("REDIS_URL", default="")
ALLOWED_HOSTS = _names("ALLOWED_HOSTS") or (["127.0.0.1", "localhost"] if DEBUG else [])
VAPI_API_KEY = env.str("VAPI_API_KEY", default="").strip()
VAPI_API_URL = _address("VAPI_API_URL", "https://api.vapi.ai")
# Several secrets may be valid at once, so that a new one can be rolled out before the old one goes.
VAPI_WEBHOOK_SECRETS = _names("VAPI_WEBHOOK_SECRETS")
VAPI_WEBHOOK_HMAC_SECRETS = _names("VAPI_WEBHOOK_HMAC_SECRETS")
TWILIO_ACCOUNT_SID = env.str("TWILIO_ACCOUNT_SID", default="").strip()
TWILIO_AUTH_TOKEN = env.str("TWILIO_AUTH_TOKEN", default="").strip()
TWILIO_API_URL = _address("TWILIO_API_URL", "https://api.twilio.com")
# What some countries ask for, by country and kind: GB-local=BU…,GB-mobile=BU….
TWILIO_BUNDLE_SIDS = _sids("TWILIO_BUNDLE_SIDS")
TWILIO_ADDRESS_SIDS = _sids("TWILIO_ADDRESS_SIDS")

STRIPE_SECRET_KEY = env.str("STRIPE_SECRET_KEY", default="").strip()
STRIPE_WEBHOOK_SECRET = env.str("STRIPE_WEBHOOK_SECRET", default="").strip()
STRIPE_API_URL = _address("STRIPE_API_URL", "https://api.stripe.com")
EMAIL_URL = env.str("EMAIL_URL", default="").strip()
# Where customers reach the site: the beginning of links in e-mails, and of where Stripe's pages
# send them back to.
SITE_URL = env.str("SITE_URL", default="").strip().rstrip("/")

# Where errors are reported to; without it, nowhere.
SENTRY_DSN = env.str("SENTRY_DSN", default="").strip()
try:
    _ = SENTRY_DSN and Dsn(SENTRY_DSN)
except BadDsn:
    raise ImproperlyConfigured(
        "SENTRY_DSN is no DSN: take it from the project's settings in Sentry, like "
        "https://key@sentry.example.com/1, or leave it empty."
    ) from None

# Whoever sends it as a bearer token may read /metrics; without it, nobody may.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="").strip()
if 0 < len(METRICS_TOKEN) < _SHORTEST_TOKEN and not DEBUG:
    raise ImproperlyConfigured(
        f"METRICS_TOKEN is shorter than {_SHORTEST_TOKEN} characters, and could be guessed: make "
        "one with `openssl rand -hex 32`."
    )

# The servers and the key are needed in every mode; DEBUG only waives what it has a stand-in for.
_needed = {"SECRET_KEY": SECRET_KEY, "DATABASE_URL": DATABASE_URL, "REDIS_URL": REDIS_URL}
if not DEBUG:
    _needed |= {
        "ALLOWED_HOSTS": ALLOWED_HOSTS,
        "VAPI_API_KEY": VAPI_API_KEY,
        "TWILIO_ACCOUNT_SID": TWILIO_ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": TWILIO_AUTH_TOKEN,
        "STRIPE_SECRET_KEY": STRIPE_SECRET_KEY,
        "STRIPE_WEBHOOK_SECRET": STRIPE_WEBHOOK_SECRET,
        "EMAIL_URL": EMAIL_URL,
        "VAPI_WEBHOOK_SECRETS (or VAPI_WEBHOOK_HMAC_SECRETS)": (
            VAPI_WEBHOOK_SECRETS or VAPI_WEBHOOK_HMAC_SECRETS
        ),
    }
_schemes = {
    "DATABASE_URL": (DATABASE_URL, ("postgresql://", "postgres://")),
    "REDIS_URL": (REDIS_URL, ("redis://", "rediss://", "unix://")),
}
_missing = [name for name, value in _needed.items() if not value]
if _missing:
    raise ImproperlyConfigured(
        f"voxbilling cannot start: set {', '.join(_missing)} in the environment or in .env "
        "(see .env.example), or use `make run` for a stack that needs no configuration."
    )

for _name, (_url, _beginnings) in _schemes.items():
    # Tools that reach no server may name none.
    if not DEBUG and not _url.startswith(_beginnings):
        raise ImproperlyConfigured(f"{_name} must begin with one of {', '.join(_beginnings)}.")

_no_hosts = [host for host in ALLOWED_HOSTS if "/" in host]
if _no_hosts:
    raise ImproperlyConfigured(
        f"ALLOWED_HOSTS names {_no_hosts[0]!r}: write hosts only, like billing.example.com."
    )
if not SITE_URL:
    # A name that stands for many, like `.example.com` or `*`, is no address.
    if not DEBUG and ALLOWED_HOSTS[0].startswith((".", "*")):
        raise ImproperlyConfigured(
            "Set SITE_URL to the address at which customers reach the site, like "
            f"https://billing.example.com: ALLOWED_HOSTS begins with {ALLOWED_HOSTS[0]!r}, which "
            "is no address."
        )
    SITE_URL = "http://127.0.0.1:8000" if DEBUG else f"https://{ALLOWED_HOSTS[0]}"
if not SITE_URL.startswith(("https://", "http://") if DEBUG else "https://"):
    raise ImproperlyConfigured(
        f"SITE_URL is {SITE_URL!r}: make it an address like https://billing.example.com."
    )

DATA_DIR = data_dir()

INSTALLED_APPS = [
    # Before the admin, whose templates it replaces.
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_htmx",
    "django_structlog",
    "axes",
    "voxbilling.operations",
    "wallets",
    "telephony",
    "calls",
    "webhooks",
]

MIDDLEWARE = [
    "voxbilling.operations.health.HealthMiddleware",
    "voxbilling.request_log.RequestLogMiddleware",
    "voxbilling.lanes.LanesMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "voxbilling.content_security.ContentSecurityMiddleware",
    "axes.middleware.AxesMiddleware",
]

UNFOLD = {
    "SITE_TITLE": "voxbilling",
    "SITE_HEADER": "voxbilling",
    "SITE_ICON": lambda _request: static("voxbilling/icon.svg"),
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _request: static("voxbilling/icon.svg"),
        }
    ],
    # The green of customers' pages, by lightness.
    "COLORS": {
        "primary": {
            "50": "#eef7f4",
            "100": "#d6ebe4",
            "200": "#aed7ca",
            "300": "#8fcfbd",
            "400": "#6cc5b0",
            "500": "#4fae98",
            "600": "#1f6f5f",
            "700": "#1f5d50",
            "800": "#1a4a40",
            "900": "#163c34",
            "950": "#0c231e",
        },
    },
    "SHOW_VIEW_ON_SITE": False,
    "LOGIN": {"form": "voxbilling.sign_in.StaffSignInForm"},
    "DASHBOARD_CALLBACK": "voxbilling.operations.dashboard.show",
    "SIDEBAR": {
        "show_search": False,
        "navigation": "voxbilling.operations.navigation.groups",
    },
}

ROOT_URLCONF = "voxbilling.urls"
WSGI_APPLICATION = "voxbilling.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [PROJECT_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

try:
    _database: dict[str, Any] = env.db_url_config(DATABASE_URL)
except ValueError:
    # Without the password that it has.
    raise ImproperlyConfigured(
        "DATABASE_URL is no address of a server: make it one like "
        "postgresql://user:password@db.example.com:5432/voxbilling."
    ) from None
_database["CONN_MAX_AGE"] = 0
# The pool tries a connection before it gives it out: those from before a restart of the database
# would each fail the first message that they serve.
_database["CONN_HEALTH_CHECKS"] = True
# PgBouncer in transaction mode may hand each transaction another server connection: nothing may
# outlive a transaction, so no prepared statements and no server-side cursors.
_database["DISABLE_SERVER_SIDE_CURSORS"] = True
_database["OPTIONS"] = {
    **_database.get("OPTIONS", {}),
    "prepare_threshold": None,
    # A thread that waits longer than this for a connection could no longer answer Vapi in time.
    "pool": {"min_size": 1, "max_size": DATABASE_POOL_MAX_CONNECTIONS, "timeout": 3},
}
DATABASES = {"default": _database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Counters of throttles, and when beat and the sweeps were last seen: nothing that money needs.
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "voxbilling",
        "OPTIONS": {"socket_connect_timeout": 1, "socket_timeout": 2},
    }
}

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# What the URL leaves open stays as Django has it. Without a URL, DEBUG prints e-mails.
try:
    _email: dict[str, Any] = env.email_url_config(EMAIL_URL or "consolemail://")
except (ImproperlyConfigured, ValueError):
    raise ImproperlyConfigured(
        "EMAIL_URL is no address of a mail server: make it one like "
        "smtp+tls://user:password@mail.example.com:587."
    ) from None
globals().update({name: value for name, value in _email.items() if value is not None})
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = (
    env.str("DEFAULT_FROM_EMAIL", default="").strip() or f"billing@{urlsplit(SITE_URL).hostname}"
)
SERVER_EMAIL = DEFAULT_FROM_EMAIL

AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
]
# Counted in the database: a sign-in needs nothing that /readyz does not.
AXES_FAILURE_LIMIT = 10
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "voxbilling.sign_in.address"
AXES_USERNAME_CALLABLE = "voxbilling.sign_in.name"
AXES_LOCKOUT_CALLABLE = "voxbilling.sign_in.locked_out"

LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "wallet"
LOGOUT_REDIRECT_URL = "sign-in"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = True
USE_TZ = True

STATIC_URL = "static/"
STATIC_ROOT = PROJECT_DIR / "staticfiles"
WHITENOISE_USE_FINDERS = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# A report with a long artifact is some hundred kilobytes; what is larger is not a Vapi message.
DATA_UPLOAD_MAX_MEMORY_SIZE = 5 * 1024 * 1024

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework_simplejwt.authentication.JWTAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_THROTTLE_CLASSES": ["voxbilling.api.throttles.PerUser"],
    "DEFAULT_PARSER_CLASSES": ["voxbilling.api.parsers.AnyJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "voxbilling.api.parsers.AlwaysJSON",
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "voxbilling.api.errors.answer",
    "NON_FIELD_ERRORS_KEY": "body",
    "UNAUTHENTICATED_USER": None,
    # In production a proxy stands in front, and adds the address that it was asked from.
    "NUM_PROXIES": 0 if DEBUG else 1,
}
SIMPLE_JWT = {
    "ACCESS_TOKEN_LIFETIME": timedelta(minutes=30),
    "REFRESH_TOKEN_LIFETIME": timedelta(days=7),
    "UPDATE_LAST_LOGIN": False,
    # Tokens end when the password changes.
    "CHECK_REVOKE_TOKEN": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "voxbilling",
    "VERSION": "1",
    "DESCRIPTION": "Real-time prepaid billing for AI voice calls. Amounts are whole pence.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # Swagger UI would ask another host whether the schema is valid.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
}

if not DEBUG:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = True
    SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
CSRF_COOKIE_HTTPONLY = True

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
# The broker may forget a task, the database does not: a sweep finds what a lost task would have
# done. So publishing never holds up a request that has already committed.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_connect_timeout": 1, "socket_timeout": 2}
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# Calls have a queue and a worker of their own: whatever else hangs, live calls are watched.
CELERY_TASK_DEFAULT_QUEUE = "providers"
CELERY_TASK_ROUTES = {
    "calls.*": {"queue": "calls"},
    "webhooks.tasks.retry_webhook_events": {"queue": "calls"},
}
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "celerybeat-schedule")

LOGGING_CONFIG = None
logs.configure(json=not DEBUG)
redaction.keep_secret(
    [
        *(SECRET_KEY, *SECRET_KEY_FALLBACKS, METRICS_TOKEN, VAPI_API_KEY, TWILIO_AUTH_TOKEN),
        *(*VAPI_WEBHOOK_SECRETS, *VAPI_WEBHOOK_HMAC_SECRETS),
        *(STRIPE_SECRET_KEY, STRIPE_WEBHOOK_SECRET),
        *(unquote(urlsplit(url).password or "") for url in (DATABASE_URL, REDIS_URL, EMAIL_URL)),
    ]
)
# Whoever asks can make it up, and the proxy's own log has it.
DJANGO_STRUCTLOG_IP_LOGGING_ENABLED = False
# One line for a request is enough, and none for a task that ended well.
DJANGO_STRUCTLOG_STATUS_START_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_CELERY_TASK_START_LOG_LEVEL = logging.DEBUG
DJANGO_STRUCTLOG_CELERY_TASK_SUCCESS_LOG_LEVEL = logging.DEBUG

# Prices. Every organization and every hold keeps its own copy; these are what new ones start with.
CALL_RATE_PENCE_PER_MINUTE = _whole_number("CALL_RATE_PENCE_PER_MINUTE", 49, 1, 100_000)
BILLING_INCREMENT_SECONDS = _whole_number("BILLING_INCREMENT_SECONDS", 60, 1, 3_600)
RESERVATION_MINUTES = _whole_number("RESERVATION_MINUTES", 5, 1, 720)
RESERVATION_TTL_MINUTES = _whole_number("RESERVATION_TTL_MINUTES", 30, 1, 1_440)
STATUS_CHECK_SECONDS = _whole_number("STATUS_CHECK_SECONDS", 60, 1, 3_600)
KILL_LEAD_SECONDS = _whole_number("KILL_LEAD_SECONDS", 2, 0, 60)
PHONE_NUMBER_COST_PENCE = _whole_number("PHONE_NUMBER_COST_PENCE", 1000, 1, 1_000_000)
WALLET_MIN_TOPUP_PENCE = _whole_number("WALLET_MIN_TOPUP_PENCE", 2500, 30, 1_000_000)
USD_TO_GBP_RATE = _rate("USD_TO_GBP_RATE", "0.79")
# How long messages are kept that were processed.
WEBHOOK_EVENT_RETENTION_DAYS = _whole_number("WEBHOOK_EVENT_RETENTION_DAYS", 90, 1, 3_650)
# Calls that ended through a fault of Vapi's own are not charged (external fault, not the caller's).
WAIVE_VAPI_FAULTS = _yes_or_no("WAIVE_VAPI_FAULTS", default=True)
