"""Background work."""

from celery import shared_task

from projects import keys
from projects.notify import calls, key_reminders, mail, retention
from projects.notify import digest as digests


@shared_task
def expire() -> None:
    """Mark keys whose end has passed, and tell people about those whose end comes close."""
    keys.expire()
    key_reminders.remind()


@shared_task
def deliver() -> None:
    """Empty the queue of webhook calls and mails. Calls first: a mail server that hangs must not hold them up."""
    calls.deliver()
    mail.deliver()


@shared_task
def digest() -> None:
    """Hand over the digests whose hour has come, and let go of what is old."""
    digests.release()
    retention.purge()


@shared_task
def recheck() -> None:
    """Ask the identity provider whether the people who came through it may still be here."""


@shared_task
def clear() -> None:
    """Let go of what has expired: used tokens, OAuth tokens, sessions."""
