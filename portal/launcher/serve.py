"""The server child: one uvicorn process for pages and gateway, on the socket that the launcher listens with.

`python -m portal.launcher.serve FD`. Logs go through the portal's JSON formatter (log_config=None leaves uvicorn's
loggers to the root handler that the settings configure).
"""

import socket
import sys

import uvicorn

from portal.env import EnvError

DRAIN_SECONDS = 10


def main() -> None:
    """Serve until SIGTERM; running requests get DRAIN_SECONDS to finish."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    config = uvicorn.Config(
        "portal.asgi:application",
        http="httptools",
        loop="uvloop",
        ws="none",
        log_config=None,
        log_level="info",
        proxy_headers=False,  # nothing stands in front of the embedded stack, so nobody may name another address
        server_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except EnvError as error:
        sys.exit(f"gatehouse: {error}")


if __name__ == "__main__":
    main()
