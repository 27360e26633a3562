"""All settings. Everything that differs between the embedded stack and production comes from the environment
(portal/env.py).
"""

import os
import sys
import tempfile
from pathlib import Path

from csp.constants import NONE, SELF

from portal import env, keys, sso

BASE_DIR = Path(__file__).resolve().parent.parent

GATEHOUSE_ENV = env.choice("GATEHOUSE_ENV", "embedded", ("embedded", "production"))
EMBEDDED = GATEHOUSE_ENV == "embedded"
TESTING = "pytest" in sys.modules
STATE_DIR = env.state_dir(BASE_DIR)

# --- Keys: generated beside the state in the embedded stack, demanded in production ---------------------------------
SECRET_KEY = keys.secret_key(STATE_DIR, generate=EMBEDDED)
GATEHOUSE_ENCRYPTION_KEYS = keys.encryption_keys(STATE_DIR, generate=EMBEDDED)
IDP_OIDC_PRIVATE_KEY = keys.oidc_private_key(STATE_DIR, generate=EMBEDDED)
GATEWAY_SHARED_SECRET = env.text("GATEHOUSE_GATEWAY_SHARED_SECRET", "")

# --- Address
# -----------------------------------------------------------------------------------------------------------
PORT = env.number("PORT", 8000, low=1, high=65535)
BASE_URL = env.text(
    "GATEHOUSE_BASE_URL", f"http://127.0.0.1:{PORT}" if EMBEDDED else None, example="https://gatehouse.example.com"
).rstrip("/")
ALLOWED_HOSTS = env.words("GATEHOUSE_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],testserver" if EMBEDDED else "")
if not EMBEDDED and not ALLOWED_HOSTS:
    ALLOWED_HOSTS = [BASE_URL.split("://")[-1].split("/")[0].rsplit(":", 1)[0]]
CSRF_TRUSTED_ORIGINS = [BASE_URL] if BASE_URL.startswith("https://") else []
HTTPS = BASE_URL.startswith("https://")
DEBUG = False

# --- Apps
# --------------------------------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "portal.apps.PortalConfig",
    "approvals.apps.ApprovalsConfig",
    "endpoints.apps.EndpointsConfig",
    "quotas.apps.QuotasConfig",
    "catalog.apps.CatalogConfig",
    "projects.apps.ProjectsConfig",
    "audit.apps.AuditConfig",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.forms",  # the templates of forms, which FORM_RENDERER finds through the loaders above
    "allauth",
    "allauth.account",
    "allauth.idp.oidc",
    "allauth.mfa",
    "allauth.socialaccount",
    "allauth.socialaccount.providers.openid_connect",
    "allauth.usersessions",
    "csp",
    "django_htmx",
    "guardian",
    "template_partials.apps.SimpleAppConfig",
]

MIDDLEWARE = [
    "portal.middleware.request_context",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",  # before gzip: its files are compressed once, at collectstatic
    "django.middleware.gzip.GZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "projects.signin.middleware.replay",  # before the principal: what a proof adds to the session counts at once
    "projects.middleware.principal",
    "projects.signin.middleware.second_factor",
    "portal.middleware.expected_errors",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"
ASGI_APPLICATION = "portal.asgi.application"
ADMIN_PATH = env.text("GATEHOUSE_ADMIN_PATH", "backoffice").strip("/")

_cached = (
    "django.template.loaders.cached.Loader",
    ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"],
)
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "OPTIONS": {
            "builtins": ["template_partials.templatetags.partials", "portal.templatetags.gatehouse"],
            "libraries": {"i18n": "portal.templatetags.words"},
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "portal.context.frame",
            ],
            "loaders": [("template_partials.loader.Loader", [_cached])],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# --- Stores
# ------------------------------------------------------------------------------------------------------------
DATABASES = {"default": env.database(env.text("DATABASE_URL", ""), STATE_DIR / "gatehouse.sqlite3")}
if TESTING and DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A file, not shared memory: threads of a test must wait for each other as they do in the real stack.
    DATABASES["default"]["TEST"] = {"NAME": str(Path(tempfile.gettempdir()) / f"gatehouse-test-{os.getpid()}.sqlite3")}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.text("REDIS_URL", "" if EMBEDDED else None, example="redis://cache.example.com:6379")
_redis = env.redis(REDIS_URL) if REDIS_URL else None
if _redis is None and (STATE_DIR / "broker.sock").exists():
    # A command in another shell finds the broker of the running embedded stack.
    _redis = env.redis(f"unix://{STATE_DIR / 'broker.sock'}")
REDIS_CLIENT_URL = "" if _redis is None or TESTING else _redis["client"]
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": _redis["cache"]}
        if _redis and not TESTING
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    )
}

# --- Celery (the row is the queue, the broker only nudges)
# -----------------------------------------------------------------
CELERY_BROKER_URL = _redis["celery"] if _redis and not TESTING else "memory://"
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_DEFAULT_QUEUE = "default"
CELERY_TASK_ACKS_ON_FAILURE = True
CELERY_TASK_ACKS_ON_TIMEOUT = True
CELERY_TASK_TIME_LIMIT = 300
CELERY_TASK_SOFT_TIME_LIMIT = 240
CELERY_TASK_PUBLISH_RETRY_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0.1}
CELERY_BROKER_TRANSPORT_OPTIONS = {"visibility_timeout": 3600, "socket_timeout": 5, "socket_connect_timeout": 2}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
SWEEP_SECONDS = env.number("GATEHOUSE_SWEEP_SECONDS", 2 if EMBEDDED else 30, low=1, high=3600)
ROGUE_SCAN_SECONDS = env.number("GATEHOUSE_ROGUE_SCAN_SECONDS", 30 if EMBEDDED else 300, low=5, high=86_400)
ROGUE_RESOURCES = env.words("GATEHOUSE_ROGUE_RESOURCES", "")
ROGUE_IGNORED_NAMESPACES = env.words("GATEHOUSE_ROGUE_IGNORED_NAMESPACES", "")
DRIFT_SECONDS = env.number("GATEHOUSE_DRIFT_SECONDS", 30 if EMBEDDED else 300, low=5, high=86_400)
SURVEY_SECONDS = env.number("GATEHOUSE_SURVEY_SECONDS", 10 if EMBEDDED else 30, low=5, high=3600)
CELERY_TASK_ROUTES = {
    "endpoints.tasks.scrape": {"queue": "metrics"},
    "quotas.tasks.ingest": {"queue": "metrics"},
    "endpoints.tasks.*": {"queue": "cluster"},
    "catalog.tasks.collect": {"queue": "evidence"},
    "projects.tasks.deliver": {"queue": "notify"},
    "projects.tasks.digest": {"queue": "notify"},
}
EVIDENCE_ALONE = EMBEDDED  # one worker does everything: at most one of its processes reads the content of models


def _often(task: str, seconds: int) -> dict[str, object]:
    """Work whose message is worth nothing once the next one is due."""
    return {"task": task, "schedule": seconds, "options": {"expires": seconds}}


CELERY_BEAT_SCHEDULE = {
    # An expired nudge is worth nothing: the next one does the same work.
    "endpoints-sweep": _often("endpoints.tasks.sweep", SWEEP_SECONDS),
    "endpoints-scrape": {"task": "endpoints.tasks.scrape", "schedule": 10, "options": {"expires": 10}},
    "quotas-ingest": {"task": "quotas.tasks.ingest", "schedule": 1 if EMBEDDED else 5, "options": {"expires": 5}},
    "endpoints-expire": {"task": "endpoints.tasks.expire", "schedule": 60 if EMBEDDED else 600},
    "endpoints-prune": {"task": "endpoints.tasks.prune", "schedule": 86_400},
    "quotas-alert": {
        "task": "quotas.tasks.alert",
        "schedule": 2 if EMBEDDED else 30,
        "options": {"expires": 30},
    },
    "quotas-purge": {"task": "quotas.tasks.purge", "schedule": 86_400},
    "quotas-check": {"task": "quotas.tasks.check_pools", "schedule": 60, "options": {"expires": 60}},
    "audit-seal": {"task": "audit.tasks.seal", "schedule": 10, "options": {"expires": 10}},
    "projects-expire": {"task": "projects.tasks.expire", "schedule": 60, "options": {"expires": 60}},
    "projects-deliver": {
        "task": "projects.tasks.deliver",
        "schedule": 2 if EMBEDDED else 15,
        "options": {"expires": 15},
    },
    "projects-digest": {"task": "projects.tasks.digest", "schedule": 900, "options": {"expires": 900}},
    "approvals-purge": {"task": "approvals.tasks.purge", "schedule": 86_400},
    "approvals-preview": _often("approvals.tasks.preview", SWEEP_SECONDS),
    "approvals-remind": {"task": "approvals.tasks.remind", "schedule": 3600},
    "approvals-escalate": {"task": "approvals.tasks.escalate", "schedule": 60, "options": {"expires": 60}},
    "approvals-end-waivers": {"task": "approvals.tasks.end_waivers", "schedule": 600},
    "approvals-sweep-findings": {
        "task": "approvals.tasks.sweep_findings",
        "schedule": 60 if EMBEDDED else 600,
        "options": {"expires": 60},
    },
    "approvals-objective": _often("approvals.tasks.watch_objective", 10 if EMBEDDED else 60),
    "catalog-expire": {"task": "catalog.tasks.expire", "schedule": 600},
    "catalog-collect": _often("catalog.tasks.collect", 5 if EMBEDDED else 30),
    "catalog-renew": {"task": "catalog.tasks.renew", "schedule": 3600},
    "catalog-verify": {"task": "catalog.tasks.verify", "schedule": 60 if EMBEDDED else 600},
    "endpoints-settle": _often("endpoints.tasks.settle", 5 if EMBEDDED else 30),
    "endpoints-watch-clusters": {"task": "endpoints.tasks.watch_clusters", "schedule": 60, "options": {"expires": 60}},
    "endpoints-survey": {"task": "endpoints.tasks.survey_clusters", "schedule": SURVEY_SECONDS},
    "endpoints-give-back": {"task": "endpoints.tasks.give_back", "schedule": 5 if EMBEDDED else 60},
    "endpoints-rogue": {"task": "endpoints.tasks.find_rogues", "schedule": 5 if EMBEDDED else 30},
    "endpoints-compare-clusters": _often("endpoints.tasks.compare_clusters", DRIFT_SECONDS),
    "endpoints-drift": {"task": "endpoints.tasks.drift", "schedule": 30 if EMBEDDED else 300},
    "projects-recheck": {"task": "projects.tasks.recheck", "schedule": 30, "options": {"expires": 30}},
    "projects-clear": {"task": "projects.tasks.clear", "schedule": 3600},
}

# --- People
# ------------------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "projects.User"
AUTHENTICATION_BACKENDS = [
    "projects.signin.backend.SignInBackend",
    "guardian.backends.ObjectPermissionBackend",
]
PASSWORD_HASHERS = (
    ["django.contrib.auth.hashers.MD5PasswordHasher"]
    if TESTING
    else ["django.contrib.auth.hashers.Argon2PasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
)
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
GUARDIAN_MONKEY_PATCH_USER = False
ANONYMOUS_USER_NAME = None
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_ADAPTER = "projects.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = False
ACCOUNT_REAUTHENTICATION_TIMEOUT = env.number("GATEHOUSE_REAUTHENTICATION_MINUTES", 15, low=1, high=720) * 60
# Per address and per name: somebody who guesses is slowed down, and a colleague behind the same address is not.
ACCOUNT_RATE_LIMITS = {"login": "60/m/ip", "login_failed": "20/m/ip,5/5m/key", "reauthenticate": "10/m/user"}
ACCOUNT_FORMS = {"reset_password": "projects.signin.resetting.ResetForm"}
# Django's own: allauth's asks the database once more when the account exists, which a stranger could measure.
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "django.contrib.auth.tokens.PasswordResetTokenGenerator"  # noqa: S105
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if env.flag("GATEHOUSE_BEHIND_PROXY", False) else 0
REQUIRE_MFA = env.flag("GATEHOUSE_REQUIRE_MFA", not EMBEDDED)
MFA_ADAPTER = "projects.adapters.MfaAdapter"
MFA_SUPPORTED_TYPES = ["totp", "webauthn", "recovery_codes"]
MFA_TOTP_ISSUER = "Gatehouse"
MFA_TOTP_TOLERANCE = 1  # a clock that is half a minute off
MFA_RECOVERY_CODES_SHOW_ONCE = True
MFA_ALLOW_UNVERIFIED_EMAIL = True  # nobody signs up, so nobody sits on an address that is not theirs
MFA_WEBAUTHN_ALLOW_INSECURE_ORIGIN = EMBEDDED and not HTTPS  # browsers themselves allow it on localhost only
USERSESSIONS_TRACK_ACTIVITY = False  # a write on every page is too much for "last seen"

# --- Single sign-on (one provider; the groups of its people become roles)
SSO = sso.read(embedded=EMBEDDED)
SOCIALACCOUNT_ADAPTER = "projects.sso.adapter.SsoAdapter"
SOCIALACCOUNT_PROVIDERS = {"openid_connect": {"OAUTH_PKCE_ENABLED": True, "APPS": sso.apps(SSO)}}
SOCIALACCOUNT_LOGIN_ON_GET = False
SOCIALACCOUNT_STORE_TOKENS = False
SOCIALACCOUNT_EMAIL_AUTHENTICATION = False
SOCIALACCOUNT_AUTO_SIGNUP = True
SOCIALACCOUNT_REQUESTS_TIMEOUT = 5
# The portal's session ends when the provider says so, and it is asked this often.
SSO_RECHECK_SECONDS = env.number("GATEHOUSE_SSO_RECHECK_SECONDS", 120, low=10, high=86_400)

# --- The portal as an OAuth 2 provider of its own API, and the tokens of others that it takes
IDP_OIDC_ADAPTER = "projects.oauth.adapter.OidcAdapter"
IDP_OIDC_ACCESS_TOKEN_FORMAT = "opaque"  # noqa: S105 - a format, not a secret
IDP_OIDC_ACCESS_TOKEN_EXPIRES_IN = 3600
IDP_OIDC_REFRESH_TOKEN_EXPIRES_IN = 30 * 86_400
IDP_OIDC_INTROSPECTION_ENABLED = True
EXTERNAL_JWT = sso.external()
SESSION_COOKIE_NAME = "gatehouse_session"
CSRF_COOKIE_NAME = "gatehouse_csrf"
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_HTTPONLY = True
SESSION_SERIALIZER = "portal.sessions.Serializer"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS

# --- Safety of answers
# ---------------------------------------------------------------------------------------------------
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health/"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.flag("GATEHOUSE_BEHIND_PROXY", False) else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "img-src": [SELF, "data:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        # Browsers hold redirects of a form against this too: a sign-in leads to the identity provider.
        "form-action": [SELF, *([sso.origin(SSO)] if SSO else [])],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576
DATA_UPLOAD_MAX_NUMBER_FIELDS = 500

# --- Pages
# ---------------------------------------------------------------------------------------------------------------
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True
STATIC_URL = "static/"
STATIC_ROOT = STATE_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if TESTING
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_MAX_AGE = 3600
MESSAGE_STORAGE = "django.contrib.messages.storage.session.SessionStorage"

# --- The way out: mail and webhooks
# -----------------------------------------------------------------------------------------------
_smtp = env.smtp(env.text("GATEHOUSE_SMTP_URL", ""))
MAIL_ON = EMBEDDED or _smtp is not None  # off: nothing is queued, and the preferences page says so
DEFAULT_FROM_EMAIL = SERVER_EMAIL = env.text(
    "GATEHOUSE_MAIL_FROM",
    "Gatehouse <gatehouse@localhost>" if EMBEDDED or not MAIL_ON else None,
    example="Gatehouse <gatehouse@example.com>",
)
# Embedded mail goes to the console; in production never, since a log must not hold links that reset a password.
EMAIL_BACKEND = f"django.core.mail.backends.{'smtp' if _smtp else 'console' if EMBEDDED else 'dummy'}.EmailBackend"
if _smtp:
    EMAIL_HOST, EMAIL_PORT = _smtp.host, _smtp.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _smtp.user, _smtp.password
    EMAIL_USE_SSL, EMAIL_USE_TLS = _smtp.tls == "tls", _smtp.tls == "starttls"
EMAIL_TIMEOUT = 10

# --- Where the content of versions lies
HUB_URL = env.origin("GATEHOUSE_HUB_URL", env.text("GATEHOUSE_HUB_URL", "https://huggingface.co"))
HUB_TOKEN = env.text("GATEHOUSE_HUB_TOKEN", "")
BUCKET_URL = env.origin("GATEHOUSE_BUCKET_URL", env.text("GATEHOUSE_BUCKET_URL", ""))
BUCKET_REGION = env.text("GATEHOUSE_BUCKET_REGION", "us-east-1")
BUCKET_ACCESS_KEY = env.text("GATEHOUSE_BUCKET_ACCESS_KEY", "")
BUCKET_SECRET_KEY = env.text("GATEHOUSE_BUCKET_SECRET_KEY", "")
SOURCE_DIRS = env.directories("GATEHOUSE_SOURCE_DIRS", env.words("GATEHOUSE_SOURCE_DIRS"))
SOURCE_IDLE_SECONDS = env.number("GATEHOUSE_SOURCE_IDLE_SECONDS", 30, low=1, high=3600)
_signers = env.text("GATEHOUSE_SIGNERS_DIR", "")
SIGNERS_DIR: Path = Path(_signers) if _signers else STATE_DIR / "signers"
REQUIRE_SIGNATURE = env.flag("GATEHOUSE_REQUIRE_SIGNATURE", False)
SLSA_BUILDERS = env.words("GATEHOUSE_SLSA_BUILDERS")
SCORECARD_FLOOR = env.number("GATEHOUSE_SCORECARD_FLOOR", 5, low=0, high=10)
MODEL_BYTES = env.number("GATEHOUSE_MODEL_BYTES", 2**40, low=1, high=2**53)
VERIFY_HOURS = env.number("GATEHOUSE_VERIFY_HOURS", 24, low=1, high=8760)
OUTBOUND_HTTP = EMBEDDED  # elsewhere http:// is for targets on an allow-list
OUTBOUND_ALLOW = {
    "webhook": env.targets("GATEHOUSE_WEBHOOK_ALLOW"),
    "sso": env.targets("GATEHOUSE_SSO_ALLOW") or (["127.0.0.0/8", "::1"] if EMBEDDED else []),
    "mcp": env.targets("GATEHOUSE_MCP_ALLOW") or (["127.0.0.0/8", "::1"] if EMBEDDED else []),
    "hub": [*env.host(HUB_URL), *env.targets("GATEHOUSE_HUB_ALLOW")],
    "registry": env.targets("GATEHOUSE_REGISTRY_ALLOW"),
    "bucket": [*env.host(BUCKET_URL), *env.targets("GATEHOUSE_BUCKET_ALLOW")],
    # Clusters live in private networks, and only an engineer registers one: this is for them alone.
    "cluster": [
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"),
        *(("127.0.0.0/8", "::1") if EMBEDDED else ()),
        *env.targets("GATEHOUSE_CLUSTER_ALLOW"),
    ],
}
OUTBOUND_ALLOW["git"] = [*OUTBOUND_ALLOW["cluster"], *env.targets("GATEHOUSE_GIT_ALLOW")]  # chosen by engineers, too
GIT_DIRECTORIES = env.words("GATEHOUSE_GIT_DIRECTORIES")
OUTBOUND_ONLY = {"hub", "registry", "bucket"}  # these call no host that is not on their list

# --- The portal's own
# --------------------------------------------------------------------------------------------------------
CURRENCY = env.text("GATEHOUSE_CURRENCY", "EUR")
HOURS_PER_MONTH = 730  # 8,760 h / 12, the convention of cloud price lists
GPU_MEMORY_UTILISATION = env.number("GATEHOUSE_GPU_MEMORY_UTILISATION", 90, low=50, high=100) / 100
LEAD_TIME_OBJECTIVE_SECONDS = 5 * 86_400  # of business time
OBJECTIVE_SHARE_PERCENT = env.number("GATEHOUSE_OBJECTIVE_SHARE_PERCENT", 90, low=1, high=99)
OBJECTIVE_ALERT_PERCENT = env.number("GATEHOUSE_OBJECTIVE_ALERT_PERCENT", 80, low=1, high=99)
GATEWAY_GRACE_SECONDS = env.number("GATEHOUSE_GATEWAY_GRACE", 60, low=0, high=86_400)
GATEWAY_UPSTREAM_TIMEOUT_SECONDS = env.number("GATEHOUSE_GATEWAY_UPSTREAM_TIMEOUT", 300, low=1, high=3600)
API_RATE_PER_MINUTE = env.number("GATEHOUSE_API_RATE_PER_MINUTE", 1200, low=10, high=1_000_000)
ENGINE_LOG_DAYS = env.number("GATEHOUSE_ENGINE_LOG_DAYS", 14, low=1, high=3650)
USAGE_EVENT_DAYS = env.number("GATEHOUSE_USAGE_EVENT_DAYS", 90, low=1, high=3650)
EXPIRY_GRACE_DAYS = env.number("GATEHOUSE_EXPIRY_GRACE_DAYS", 14, low=0, high=3650)
IDLE_DAYS = env.number("GATEHOUSE_IDLE_DAYS", 7, low=1, high=365)
QUEUE_PATIENCE_HOURS = env.number("GATEHOUSE_QUEUE_PATIENCE_HOURS", 24, low=1, high=8760)
POLICY_PREVIEW_REQUESTS = env.number("GATEHOUSE_POLICY_PREVIEW_REQUESTS", 500, low=0, high=10_000)
DRAFT_DAYS = env.number("GATEHOUSE_DRAFT_DAYS", 90, low=1, high=3650)
CLUSTER_DRIVERS = {
    "local": "endpoints.clusters.local.driver",
    "kubernetes": "endpoints.clusters.kubernetes.adopting.driver",
    "kserve": "endpoints.clusters.kserve.adopting.driver",
    "gitops": "endpoints.clusters.gitops.driver.driver",
}
WORKLOAD_RULES = "approvals.policies.workload.rules"  # what clusters refuse, too
DEMO = env.flag("GATEHOUSE_DEMO", EMBEDDED)
if DEMO and not EMBEDDED:
    raise env.EnvError("GATEHOUSE_DEMO is on, but the demo organisation never runs in production. Set GATEHOUSE_DEMO=0")
DEMO_PASSWORD = env.text("GATEHOUSE_DEMO_PASSWORD", "")
VERSION = "0.1.0"

METRICS_TOKEN = env.text("GATEHOUSE_METRICS_TOKEN", "")
LOG_LEVEL = env.choice("GATEHOUSE_LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"json": {"()": "portal.logs.JsonFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        # One line for each of several periodic tasks a second says nothing; failures are still logged.
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        # A stranger chooses the Host header: its refusal is a 400, not a trace in the log.
        "django.security.DisallowedHost": {"level": "CRITICAL"},
        "django.server": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"handlers": ["stderr"], "level": "ERROR", "propagate": False},
    },
}
os.environ.setdefault("DO_NOT_TRACK", "1")
SILENCED_SYSTEM_CHECKS = ["templates.W003"]  # portal/templatetags/words.py stands in for Django's i18n on purpose
