"""`python -m portal.launcher`: what `make run` does once the environment is installed."""

import os
import select
import sys

from portal.env import EnvError
from portal.launcher import config, record
from portal.launcher.children import rotate
from portal.launcher.config import LauncherError
from portal.launcher.console import Console, Deadline, Signals
from portal.launcher.stack import Stack

LEFTOVER_SECONDS = 10.0


def clear_leftovers(settings: config.Config, console: Console) -> None:
    """End what a killed launcher left behind; engines stay, for the worker adopts those that a row still wants.

    Raises LauncherError when a process survives SIGKILL for LEFTOVER_SECONDS (it hangs in the kernel).
    """
    earlier = record.read(settings.state / "run.json")
    if earlier is None:
        return
    killed = earlier.kill_members()
    if killed:
        console.say(f"Ended {len(killed)} process(es) of an earlier launcher that was killed: {killed}")
    deadline = Deadline(LEFTOVER_SECONDS)
    for pid in killed:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            continue  # gone already
        try:
            gone = bool(select.select([handle], [], [], deadline.left)[0])
        finally:
            os.close(handle)
        if not gone:
            raise LauncherError(
                f"Process {pid} of an earlier launcher does not end. Restart the machine or end it by hand."
            )
    (settings.state / "run.json").unlink(missing_ok=True)


def main() -> int:
    """Run the embedded stack; return the exit code."""
    try:
        settings = config.read(os.environ)
        rotate(settings.logs / "launcher.log")
        rotate(settings.logs / "setup.log")
        console = Console(settings.logs / "launcher.log")
        with record.lock(settings.state):
            signals = Signals()
            clear_leftovers(settings, console)
            with config.listen(settings) as listener:
                Stack(settings, listener, console, signals).run()
    except (EnvError, LauncherError) as error:
        print(f"gatehouse: {error}", file=sys.stderr, flush=True)
        return 1
    except OSError as error:
        print(f"gatehouse: the state directory cannot be used: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
