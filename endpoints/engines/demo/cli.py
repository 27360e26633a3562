"""Start, load, fail on request, and stop: the life of one demo engine process."""

import argparse
import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import uvicorn

from endpoints.engines.demo import model
from endpoints.engines.demo.app import Application
from endpoints.engines.demo.engine import Engine, Options

GRACE_SECONDS = 2  # what running answers get to finish after SIGTERM
OUT_OF_MEMORY, CRASHED, PORT_TAKEN = 137, 3, 1


def log(line: str) -> None:
    """Write one line for the operator. It never holds text of a prompt, and a full disk must not stop an engine."""
    with contextlib.suppress(OSError):
        print(f"demo engine: {line}", file=sys.stderr, flush=True)


def parse(arguments: Sequence[str]) -> tuple[str, int, Options]:
    """Return host, port and options; exits with status 2 and one sentence when an argument is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m endpoints.engines.demo", description="The demo engine of Gatehouse."
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=_whole(1, 65535), required=True)
    parser.add_argument("--model", required=True, help="what it stands in for; a label only")
    parser.add_argument("--served-model-name", help="the name clients use (default: the model)")
    parser.add_argument("--task", choices=("chat", "embedding"), default="chat")
    parser.add_argument("--dimensions", type=_whole(8, 8192), default=384)
    parser.add_argument(
        "--load-seconds", type=_decimal, default=0.0, help="pretend that loading weights takes this long"
    )
    parser.add_argument("--token-delay-ms", type=_decimal, default=5.0)
    parser.add_argument("--ttft-ms", type=_decimal, default=0.0)
    parser.add_argument("--max-model-len", type=_whole(16, 1 << 20), default=4096, help="tokens of prompt and answer")
    parser.add_argument(
        "--max-num-seqs", type=_whole(1, 65536), default=256, help="requests at the same time; others wait"
    )
    parser.add_argument("--fail", choices=("none", "crash", "hang", "oom"), default="none")
    parser.add_argument("--fail-after-seconds", type=_decimal, default=0.0, help="0: while loading")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    return (
        given.host,
        given.port,
        Options(
            model=given.model,
            served_name=given.served_model_name or given.model,
            task=given.task,
            dimensions=given.dimensions,
            load_seconds=given.load_seconds,
            token_delay=given.token_delay_ms / 1000,
            ttft=given.ttft_ms / 1000,
            max_model_len=given.max_model_len,
            max_num_seqs=given.max_num_seqs,
            fail=given.fail,
            fail_after=given.fail_after_seconds,
            seed=given.seed,
            key=os.environ.get("GATEHOUSE_ENGINE_KEY", ""),
        ),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status."""
    host, port, options = parse(sys.argv[1:] if arguments is None else arguments)
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        log(f"cannot listen on {host}:{port}: {error.strerror or error}".lower())
        return PORT_TAKEN
    # uvicorn stops in order and then raises the signal again for the handler it found: this one, so that an orderly
    # stop exits with 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    application = Application(options)
    config = uvicorn.Config(
        application,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    log(f"pid {os.getpid()} serves {options.served_name!r} on {host}:{port}")
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(_serve(uvicorn.Server(config), application, listener))
    log("stopped")
    return 0


async def _serve(server: uvicorn.Server, application: Application, listener: socket.socket) -> None:
    loading = asyncio.ensure_future(_live(application))
    loading.add_done_callback(_exit_on_error)
    await server.serve(sockets=[listener])
    loading.cancel()


async def _live(application: Application) -> None:
    """Load, fail if that was asked for, and become ready."""
    options = application.options
    if options.load_seconds:
        await asyncio.sleep(options.load_seconds)
    if options.fail != "none" and not options.fail_after:
        _fail(application)
        return
    loaded = await asyncio.to_thread(model.load)
    application.engine = Engine(options, loaded)
    log(f"ready, {len(loaded)} tokens of text in the model")
    if options.fail != "none":
        await asyncio.sleep(options.fail_after)
        _fail(application)


def _fail(application: Application) -> None:
    mode = application.options.fail
    if mode == "hang":
        log("simulated hang: it never becomes healthy")
        application.hung = application.engine is not None
        return
    if mode == "oom":
        have = _memory() / 2**30
        log(f"simulated out of memory: needed {have * 1.5:.1f} GiB, have {have:.1f} GiB")
        os._exit(OUT_OF_MEMORY)
    log("simulated crash, as asked for by --fail crash")
    os._exit(CRASHED)


def _exit_on_error(loading: "asyncio.Future[None]") -> None:
    """End the process when the model cannot be loaded: an engine that stays at 503 for ever helps nobody."""
    if loading.cancelled() or (error := loading.exception()) is None:
        return
    if isinstance(error, MemoryError):
        log("out of memory while loading the model")
        os._exit(OUT_OF_MEMORY)
    log(f"the model could not be loaded: {type(error).__name__}: {error}")
    os._exit(CRASHED)


def _memory() -> int:
    """Return the bytes this process may use: its limit, or the machine's memory."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return limit if limit > 0 else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value} is not between {low} and {high}")
        return value

    return read


def _decimal(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 86400")
    return value
