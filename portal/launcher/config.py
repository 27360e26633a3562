"""What the launcher reads from the environment, and the folders it works in."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from portal import env

BASE_DIR = Path(__file__).resolve().parent.parent.parent
SOCKET_PATH_LIMIT = 103  # bytes; sun_path holds 108 on Linux and 104 on macOS, with the final zero


class LauncherError(Exception):
    """The stack cannot start or go on; the text is the sentence for the person at the console."""


@dataclass(frozen=True)
class Config:
    """Where the stack lives and listens."""

    state: Path
    host: str
    port: int
    embedded: bool
    demo: bool
    redis_url: str
    database_url: str

    @property
    def logs(self) -> Path:
        """The folder of the log files."""
        return self.state / "logs"

    @property
    def broker_socket(self) -> Path:
        """The socket of the launcher's own broker; settings look for it at the same place."""
        return self.state / "broker.sock"

    @property
    def address(self) -> str:
        """The URL for a person on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)  # noqa: S104 - a comparison
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    @property
    def sqlite(self) -> Path | None:
        """The SQLite file, or None when DATABASE_URL names another database."""
        return self.state / "gatehouse.sqlite3" if not self.database_url else None


def read(environment: Mapping[str, str]) -> Config:
    """Return the configuration from `environment`; raises EnvError or LauncherError with one sentence.

    Creates the state directory with its folders, all of mode 700: they hold keys, logs and the broker's socket.
    """
    embedded = env.choice("GATEHOUSE_ENV", "embedded", ("embedded", "production"), env=environment) == "embedded"
    port = env.number("PORT", 8000, low=1, high=65535, env=environment)
    redis_url = env.text("REDIS_URL", "", env=environment)
    if redis_url:
        env.redis(redis_url)
    database_url = env.text("DATABASE_URL", "", env=environment)
    state = env.state_dir(BASE_DIR, env=environment)
    env.database(database_url, state / "gatehouse.sqlite3")
    config = Config(
        state=state,
        host=env.text("GATEHOUSE_HOST", "127.0.0.1", env=environment),
        port=port,
        embedded=embedded,
        demo=env.flag("GATEHOUSE_DEMO", embedded, env=environment),
        redis_url=redis_url,
        database_url=database_url,
    )
    if not redis_url and len(os.fsencode(config.broker_socket)) > SOCKET_PATH_LIMIT:
        raise LauncherError(
            f"GATEHOUSE_STATE_DIR is {str(state)!r}, too long for the broker's socket inside it "
            f"({SOCKET_PATH_LIMIT} bytes). Use a shorter one, for example: GATEHOUSE_STATE_DIR=/srv/gatehouse"
        )
    try:
        for folder in (state, config.logs, state / "engines", state / "journal", state / "keys"):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
    except OSError as error:
        raise LauncherError(
            f"GATEHOUSE_STATE_DIR is {str(state)!r}, which cannot be written: {error.strerror}. "
            "Use a folder of your own, for example: GATEHOUSE_STATE_DIR=$HOME/gatehouse"
        ) from error
    return config


def listen(config: Config) -> socket.socket:
    """Return the listening socket of the portal; raises LauncherError when the port is taken.

    The launcher holds it and hands it to each server process, so nothing else can take the port while the server
    restarts, and callers in that moment wait instead of being refused.
    """
    try:
        found = socket.getaddrinfo(config.host or None, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = found[0]
        return socket.create_server(where[:2], family=family, backlog=2048)
    except PermissionError as error:
        raise LauncherError(
            f"PORT is {config.port}, which this user may not open. Use one above 1023, for example: PORT=8000 make run"
        ) from error
    except socket.gaierror as error:
        raise LauncherError(
            f"GATEHOUSE_HOST is {config.host!r}, which is no address of this machine, "
            "for example: GATEHOUSE_HOST=127.0.0.1"
        ) from error
    except OSError as error:
        other = config.port + 1 if config.port < 65535 else 8000
        raise LauncherError(
            f"Port {config.port} on {config.host} cannot be used: {os.strerror(error.errno or 0)}. "
            f"Stop what listens there, or choose another port: PORT={other} make run"
        ) from error
