"""What goes wrong with a request, and how a client is told: a status, and OpenAI's error object."""

import json
from typing import Any

from starlette.responses import JSONResponse

from storygen.errors import StorygenError, UnavailableError


class JSONAnswer(JSONResponse):
    """JSON in ASCII: no character of a client or a model can break a line, or the encoding."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content).encode()


class UnknownModelError(StorygenError):
    """No such model is served."""


class UnauthorizedError(StorygenError):
    """The API key is missing or unknown."""


class TooManyError(StorygenError):
    """A client asks for more than its share."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds after which it may ask again."""


class LateError(StorygenError):
    """A request took longer than it may."""


class FailedError(StorygenError):
    """A story broke off, through no fault of the request."""


KINDS: dict[type[StorygenError], tuple[int, str, str]] = {
    UnknownModelError: (404, "invalid_request_error", "model_not_found"),
    UnauthorizedError: (401, "authentication_error", "invalid_api_key"),
    TooManyError: (429, "rate_limit_error", "rate_limit_exceeded"),
    LateError: (504, "timeout_error", "deadline_exceeded"),
    UnavailableError: (503, "server_error", "overloaded"),
    FailedError: (500, "server_error", "internal_error"),
    StorygenError: (400, "invalid_request_error", "invalid_value"),
}
"""Kind of error -> status, and the type and code that a client is told."""
STATUSES = {
    400: ("invalid_request_error", "invalid_request"),
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("timeout_error", "request_timeout"),
    413: ("invalid_request_error", "request_too_large"),
    500: ("server_error", "internal_error"),
}
"""Status -> type and code, for what is refused before anybody has looked at what it asks."""


def kind_of(error: StorygenError) -> tuple[int, str, str]:
    """Status, type and code of an error."""
    return next(told for kind, told in KINDS.items() if isinstance(error, kind))


def error_object(message: str, kind: str, code: str, param: str | None = None) -> dict[str, Any]:
    """An error as OpenAI's clients read it."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def refusal(error: StorygenError) -> JSONAnswer:
    """The answer that tells a client of an error."""
    status, kind, code = kind_of(error)
    headers = {}
    if isinstance(error, TooManyError):
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    elif status == 503:
        headers["Retry-After"] = "1"
    elif status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONAnswer(error_object(str(error), kind, code), status, headers)


def status_answer(status: int, message: str, param: str | None = None) -> JSONAnswer:
    """The answer for a status of `STATUSES`."""
    kind, code = STATUSES.get(status, STATUSES[400])
    return JSONAnswer(error_object(message, kind, code, param), status)
