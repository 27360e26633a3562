"""`manage.py take_factors USER --reason R`: for somebody who lost phone, key and recovery codes."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.services import System
from portal.errors import GatehouseError
from portal.http import clean_text
from projects.models import User
from projects.signin import factors


class Command(BaseCommand):
    """Take the second factors of a person."""

    help = "Take all second factors of a person, who then sets up new ones. Make sure first that it is them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        parser.add_argument("user")
        parser.add_argument("--reason", required=True, help="kept in the audit log")

    def handle(self, *args: Any, user: str, reason: str, **options: Any) -> None:
        """Take them."""
        person = User.objects.filter(username=user).first()
        if person is None:
            raise CommandError(f"There is no user {user}.")
        try:
            text = clean_text(reason, field="reason", low=1, high=300)
        except GatehouseError as error:
            raise CommandError(error.sentence) from error
        count = factors.drop(System("host", via="command"), person, text)
        self.stdout.write(f"{count} factors of {user} are taken away.")
