"""The built-in gateway: a raw ASGI data path without Django middleware; the ORM is used only in background threads."""
