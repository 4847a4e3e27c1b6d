"""The log: one JSON object a line, so that no text of a client can pass for a line of its own."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

LONGEST = 2000
"""Characters of a value in the log."""


class JSONFormatter(logging.Formatter):
    """Makes a line of a record; what is passed as `extra={"fields": {...}}` is in it.

    Of an exception it tells type and place. Its message may quote what a client has sent: it is told only if prompts
    may be.
    """

    def __init__(self, tell_messages: bool) -> None:
        super().__init__()
        self._tell_messages = tell_messages

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            frames = traceback.extract_tb(error.__traceback__)
            line["error"] = type(error).__name__
            line["at"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]
            if self._tell_messages:
                line["message"] = str(error)
        return json.dumps({name: _short(value) for name, value in line.items()})


def _short(value: Any) -> Any:
    if isinstance(value, list):
        return [_short(each) for each in value]
    return value[:LONGEST] if isinstance(value, str) else value


def start_log(log_prompts: bool) -> None:
    """Sends our log and uvicorn's to standard error, in lines of JSON."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JSONFormatter(log_prompts))
    for name in ("storygen.server", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(logging.INFO)
