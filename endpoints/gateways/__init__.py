"""Gateways: what carries inference traffic. `builtin` is the portal's own data path under /v1."""
