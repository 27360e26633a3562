"""Telling the launcher of the embedded stack, by a file in the state directory, whether a watcher has work: one without
would only take memory.
"""

import logging
from pathlib import Path

from django.conf import settings

log = logging.getLogger(__name__)
NAME = "watcher-wanted"


def note(wanted: bool) -> None:
    """Make the file, or take it away; elsewhere than in the embedded stack nobody reads it."""
    path = Path(settings.STATE_DIR) / NAME
    if not settings.EMBEDDED or wanted == path.exists():
        return
    try:
        if wanted:
            path.touch(mode=0o600)
        else:
            path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("endpoints.watcher_not_asked_for error=%s", error)
