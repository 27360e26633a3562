"""Why a credential is refused: for the log, never for the caller."""


class Refused(Exception):
    """A secret that opens nothing. `reason` is a code (malformed, unknown, expired, …), `about` an id or prefix;
    neither holds a piece of the secret that would help to guess it.
    """

    def __init__(self, reason: str, about: str = "") -> None:
        super().__init__(reason)
        self.reason, self.about = reason, about
