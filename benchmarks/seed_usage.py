"""Ninety days of calls, made by the database itself: projects of very different size, two endpoints and keys each.

The same arithmetic on both databases, so that both hold the same rows.
"""

import datetime as dt

from django.db import connection

from projects.models import Project

DAYS, PROJECTS = 90, 500
FIRST = dt.datetime(2026, 8, 1, tzinfo=dt.UTC)


def projects() -> int:
    """Create the projects and return the id of the first; the others follow it."""
    Project.objects.bulk_create(Project(slug=f"team-{number}", name=f"Team {number}") for number in range(PROJECTS))
    return int(Project.objects.order_by("pk").values_list("pk", flat=True)[0])


def usage(calls: int) -> None:
    """Fill ledger and roll-ups with `calls` calls."""
    first, lite = projects(), connection.vendor == "sqlite"
    rows = (
        f"(WITH RECURSIVE g(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM g WHERE i < {calls - 1}) SELECT i FROM g) AS g"
        if lite
        else f"generate_series(0, {calls - 1}) AS g(i)"
    )
    # Knuth's multiplicative hash spreads the calls; its square gives a few projects most of them.
    spread = "((i * 2654435761) % 4294967296) / 4294967296.0"
    project = f"{first} + CAST(({PROJECTS - 1}.0 * ({spread}) * ({spread})) AS INTEGER)"
    seconds = f"{int(FIRST.timestamp())} + CAST(i * {DAYS * 86400.0 / calls} AS INTEGER)"
    at = f"datetime({seconds}, 'unixepoch')" if lite else f"to_timestamp({seconds})"
    wait = "100 + (i * 37) % 400"
    with connection.cursor() as cursor:
        if lite:
            cursor.execute("PRAGMA cache_size = -400000")
            cursor.execute("PRAGMA synchronous = OFF")
        cursor.execute(f"""
            INSERT INTO quotas_usageevent (gateway, sequence, request_id, at, project_id, endpoint_id, endpoint, key_id,
                key, person, purpose, operation, status, outcome, stream, input_tokens, output_tokens, cached_tokens,
                estimated, ttft_ms, latency_ms)
            SELECT 'gw-bench', i, 'r' || i, {at}, p, 'e' || p || '-' || (i % 2), 'endpoint-' || (i % 2),
                'k' || p || '-' || (i % 2), 'gth_' || (i % 2), 'dana', 'api', 'chat',
                CASE WHEN i % 500 = 0 THEN 502 ELSE 200 END, CASE WHEN i % 500 = 0 THEN 'error' ELSE 'ok' END,
                {"0" if lite else "false"}, 200 + (i * 13) % 900, 50 + (i * 7) % 400, 0, {"0" if lite else "false"},
                {wait}, 5 * ({wait})
            FROM (SELECT i, {project} AS p FROM {rows}) AS calls""")
        for table, day in (("quotas_usagehour", False), ("quotas_usageday", True)):
            length = 10 if day else 13
            start = (
                f"substr(at, 1, {length}) || '{' 00:00:00' if day else ':00:00'}'"
                if lite
                else f"date_trunc('{'day' if day else 'hour'}', at, 'UTC')"
            )
            histogram = "'{\"122\": ' || COUNT(*) || '}'"
            histogram = histogram if lite else f"({histogram})::jsonb"
            cursor.execute(f"""
                INSERT INTO {table} (start, project_id, endpoint_id, endpoint, key_id, key, person, requests, errors,
                    input_tokens, output_tokens, cached_tokens, ttft, latency)
                SELECT {start}, project_id, endpoint_id, endpoint, key_id, key, person, COUNT(*),
                    SUM(CASE WHEN outcome = 'error' THEN 1 ELSE 0 END), SUM(input_tokens), SUM(output_tokens),
                    SUM(cached_tokens), {histogram}, {histogram}
                FROM quotas_usageevent GROUP BY 1, 2, 3, 4, 5, 6, 7""")
        cursor.execute("ANALYZE" if lite else "VACUUM ANALYZE")
