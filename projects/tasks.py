"""Background work."""

import smtplib

from celery import shared_task

from projects import keys
from projects.notify import calls, key_reminders, mail, retention
from projects.notify import digest as digests
from projects.oauth import applications, sweeping
from projects.signin import resetting
from projects.sso import recheck as sso


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


@shared_task(autoretry_for=(OSError, smtplib.SMTPException), max_retries=3, retry_backoff=15)
def reset_password(address: str) -> None:
    """Mail a link to whoever has this address, if anybody has."""
    resetting.mail_link(address)


@shared_task
def recheck() -> None:
    """Ask the identity provider whether the people who came through it may still be here."""
    sso.recheck()


@shared_task
def clear() -> None:
    """Let go of what has expired: used tokens, OAuth tokens, sessions."""
    sso.clear()
    applications.expire()
    sweeping.remind()
    sweeping.forget()
