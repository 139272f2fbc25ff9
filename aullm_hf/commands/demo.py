"""`aullm demo`: a page to try a model on, served on this machine."""

import argparse
import socket
import sys

from . import options as shared

EXAMPLES = """examples:
  aullm demo --model runs/quickstart/folds/sub01/checkpoint
  aullm demo --model YOU/REPOSITORY --port 7870
  aullm demo --model YOU/REPOSITORY --share          (a public address for a few days, without a login)

Only this machine can open the page unless --host or --share says otherwise. No clip is kept."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description, parser.epilog = __doc__, EXAMPLES
    shared.add_model(parser)
    shared.add_device(parser)
    parser.add_argument("--port", type=int, help="the first free one from 7860 on, if not given")
    parser.add_argument("--host", default="127.0.0.1", help="which address to serve on (default: this machine only)")
    parser.add_argument("--share", action="store_true", help="a public address through gradio.live")
    parser.add_argument("--max_mb", type=int, default=50, help="largest upload in MB (default: 50)")
    parser.add_argument("--max_seconds", type=float, default=60, help="longest clip in seconds (default: 60)")


def run(options: argparse.Namespace) -> int:
    from ..inference.demo.analysis import Demo, Limits
    from ..inference.demo.page import launch

    for name in ("max_mb", "max_seconds"):
        if not getattr(options, name) > 0:  # NaN is not
            raise ValueError(f"--{name} is {getattr(options, name):g}; give more than 0.")
    check_address(options.host, options.port)
    if options.share:
        print(
            "Warning: --share makes the page public: anybody with its address can send clips to this machine and use "
            "its processor, and what they send passes through servers of gradio.live.",
            file=sys.stderr,
        )
    elif options.host not in ("127.0.0.1", "localhost", "::1"):
        print(
            f"Warning: --host {options.host} lets other machines of the network open the page.",
            file=sys.stderr,
        )
    demo = Demo(shared.load_detector(options), Limits(megabytes=options.max_mb, seconds=options.max_seconds))
    launch(demo, host=options.host, port=options.port, share=options.share)
    return 0


def check_address(host: str, port: int | None) -> None:
    """Refuse an address that cannot be served on, before any model is loaded. Without a port, any free one."""
    if port is not None and not 1 <= port <= 65535:
        raise ValueError(f"--port is {port}; give 1 to 65535, or leave it out.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port or 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
            tried.bind(address)
    except OSError as error:
        asked = f"--host {host}" + (f" --port {port}" if port else "")
        raise ValueError(f"{asked} cannot be served on: {error.strerror or error}") from error


__all__ = ["add_arguments", "check_address", "run"]
