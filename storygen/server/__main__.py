"""Serves the models by HTTP, and the page: `python -m storygen.server --port 8000 --keys keys.txt`."""

import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from storygen.cli import Parser, add_settings, run, settings_in
from storygen.server.settings import ServerConfig

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line until the server is told to stop."""
    parser = Parser(prog="python -m storygen.server", description=__doc__.split(":")[0] + ".")
    add_settings(parser, ServerConfig)
    config = ServerConfig.from_dict(settings_in(parser.parse_args(argv), ServerConfig))  # before anything is loaded

    from storygen.catalogue import load_writers
    from storygen.server.app import create_app
    from storygen.server.listen import server_for
    from storygen.server.log import start_log

    start_log(config.log_prompts)
    writers, notes = load_writers(CHECKPOINTS)
    page = None
    if config.page:
        from storygen.arena.opening import open_arena
        from storygen.ui.page import build_page

        arena = open_arena(writers)
        page = build_page(writers, arena, notes)
        arena.start()
    if config.keys is None and config.host not in LOOPBACK:
        logging.getLogger("storygen.server").warning("there are no keys: whoever reaches this address may use it")
    # uvicorn sends itself the signal again when all is done; by default that would end Python before its own end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server_for(create_app(writers, config, page), config).run()


if __name__ == "__main__":
    run(main)
