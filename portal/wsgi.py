"""Pages and REST API by WSGI, for production web processes."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
application = get_wsgi_application()

from portal import warm  # noqa: E402

warm.up()
