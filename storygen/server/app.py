"""The server as one FastAPI app: /v1, health, figures, documentation, and the page."""

from collections.abc import Mapping
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Mount

import storygen
from storygen.config import unknown_name
from storygen.errors import StorygenError
from storygen.server.errors import refusal, status_answer
from storygen.server.guard import API, Guard
from storygen.server.keys import owner_of, read_keys
from storygen.server.metrics import Metrics
from storygen.server.routes import add_completions, add_health, add_models, client_of
from storygen.server.schema import CompletionRequest
from storygen.server.settings import ServerConfig
from storygen.server.stories import Desk
from storygen.writer import Writer

ABOUT = """Stories by small models, in the shape of OpenAI's completions, with fields of our own.

Any client of that API works: its base URL is this server's address with `/v1`."""


def create_app(writers: Mapping[str, Writer], config: ServerConfig, page: Any = None) -> FastAPI:
    """The app that serves these models and, if given, a page of Gradio (Blocks).

    `state.desk` has its requests; the functions in `state.at_end` are to be called when the server begins to stop.
    """
    app = fastapi_offline.FastAPIOffline(
        title="storygen", version=storygen.__version__, description=ABOUT, redoc_url=None
    )
    desk = Desk(config.request_seconds)
    app.state.desk, app.state.at_end = desk, []
    metrics = Metrics(writers)
    keys = read_keys(config.keys) if config.keys else None
    client = client_of(keys)
    add_completions(app, writers, config, metrics, client)
    add_models(app, writers, client)
    add_health(app, desk, metrics, client)
    add_error_answers(app)
    add_other_paths(app)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=config.cors_origins, allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip
    app.add_middleware(Guard, config=config, metrics=metrics)
    if page is not None:
        mount_page(app, page, keys)
    return app


def add_other_paths(app: FastAPI) -> None:
    """Refuses in OpenAI's shape what else /v1 could have: the page below would answer in its own."""
    known = {route.path for route in app.routes if isinstance(route, APIRoute)}

    @app.api_route(API + "{path:path}", methods=["GET", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
    async def refuse_path(request: Request) -> Response:
        if request.url.path in known:
            return status_answer(405, f"{request.method} is not what {request.url.path} takes")
        return status_answer(404, "there is nothing here; /docs has what there is")


def add_error_answers(app: FastAPI) -> None:
    """Tells of all errors in OpenAI's shape, and documents none that never comes."""

    @app.exception_handler(StorygenError)
    async def refuse(request: Request, error: StorygenError) -> Response:
        request.state.log["error"] = type(error).__name__
        answer = refusal(error)
        if answer.status_code >= 500:
            request.state.log["message"] = str(error)  # it is about the server; others may quote what was sent
        return answer

    @app.exception_handler(RequestValidationError)
    async def refuse_shape(request: Request, error: RequestValidationError) -> Response:
        errors = error.errors()  # one for each type that a field may have: the best is of the type that was given
        first = next((each for each in errors if not each["type"].endswith("_type")), errors[0])
        names = [str(part) for part in first["loc"] if part != "body"]
        param = names[0] if names else None
        if first["type"] == "extra_forbidden":
            message = str(unknown_name("field", names[-1], CompletionRequest.model_fields))
        else:
            message = f"{param or 'the body'}: {first['msg']}"
        request.state.log["error"] = first["type"]
        return status_answer(400, message, param)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        answer = status_answer(error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        schema = describe()
        for path in schema["paths"].values():
            for operation in path.values():
                operation["responses"].pop("422", None)  # FastAPI's own, which refuse_shape makes 400
        return schema

    app.openapi = openapi


def mount_page(app: FastAPI, page: Any, keys: Mapping[str, str] | None) -> None:
    """Serves the page at /. With keys it asks for one, as a password."""
    import gradio

    from storygen.ui.page import LOOK

    def may_enter(name: str, password: str) -> bool:
        return owner_of(password, keys or {}) is not None

    @app.post("/gradio_api/upload", include_in_schema=False)
    async def refuse_upload() -> Response:
        """The page takes no files, and nobody should fill the disk."""
        return status_answer(404, "this page takes no files")

    gradio.mount_gradio_app(
        app, page, path="/", **LOOK, show_error=False,
        auth=may_enter if keys else None, auth_message="The password is an API key of this server; the name is free.",
        mcp_server=False if keys else None,  # it asks for no password
    )  # fmt: skip
    [mounted] = [route.app for route in app.routes if isinstance(route, Mount) and not route.path]
    app.state.at_end.append(mounted.stop_event.set)  # open pages hold connections that never end by themselves
