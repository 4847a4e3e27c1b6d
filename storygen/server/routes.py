"""The endpoints: completions, models, health, figures."""

import time
from collections.abc import Callable, Mapping
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.responses import PlainTextResponse, Response

from storygen.config import unknown_name
from storygen.server.completions import EventStream, Reply, orders_of, unless_gone
from storygen.server.errors import JSONAnswer, UnauthorizedError, UnknownModelError, status_answer
from storygen.server.guard import address_of
from storygen.server.keys import owner_of
from storygen.server.limits import Limits
from storygen.server.metrics import CONTENT_TYPE, Metrics
from storygen.server.notes import Notes
from storygen.server.schema import Completion, CompletionRequest, Failure, Model, Models
from storygen.server.settings import ServerConfig
from storygen.server.stories import Desk, Stories
from storygen.writer import Result, Writer

BEARER = HTTPBearer(auto_error=False, description="An API key of this server.")
EVENT = {
    "type": "object",
    "properties": {"data": {"type": "string", "description": "A Completion with a piece of text, or [DONE]."}},
    "required": ["data"],
}
STREAM = {"text/event-stream": {"schema": EVENT}}
FAILURES = {status: {"model": Failure} for status in (400, 401, 404, 408, 413, 429, 500, 503, 504)}


def client_of(keys: Mapping[str, str] | None) -> Callable[..., str]:
    """What tells who asks: the name of the key, or without keys the address. An unknown key is refused."""

    async def by_address(request: Request) -> str:
        return address_of(request.scope)

    async def by_key(request: Request, given: Annotated[HTTPAuthorizationCredentials | None, Depends(BEARER)]) -> str:
        name = owner_of(given.credentials, keys) if given else None
        if name is None:
            raise UnauthorizedError("an API key is needed that this server knows: Authorization: Bearer sg-...")
        request.state.log["client"] = name
        return name

    return by_address if keys is None else by_key


def add_completions(
    app: FastAPI, writers: Mapping[str, Writer], config: ServerConfig, metrics: Metrics, client: Callable[..., str]
) -> None:
    """POST /v1/completions."""
    responses = {**FAILURES, 200: {"content": STREAM}}
    desk: Desk = app.state.desk
    limits = Limits(config.requests_per_minute, config.rows_per_client)

    async def charged(name: Annotated[str, Depends(client)]) -> str:
        limits.charge(name)
        return name

    @app.post("/v1/completions", response_model=Completion, responses=responses, tags=["OpenAI"])
    async def create_completion(
        asked: CompletionRequest, request: Request, name: Annotated[str, Depends(charged)]
    ) -> Response:
        """Writes a story that goes on from the prompt, on the title. With `stream` the answer is server-sent events."""
        writer = find_model(writers, asked.model)
        orders = orders_of(asked, writer)
        rows = sum(order.config.rows for order in orders)
        notes = Notes(request.state.log, config.log_prompts, metrics)
        limits.admit(name, rows)
        stories: Stories | None = None

        def close() -> None:
            limits.release(name, rows)
            if stories is not None:
                desk.give_back(stories)
                if stories.are_unfinished:
                    notes.gone()

        try:
            notes.asked(orders, bool(asked.stream))
            stories = desk.take(orders)
            await stories.accepted()
        except BaseException:
            close()
            raise
        reply = Reply(asked, writer)
        if asked.stream:
            return EventStream(reply.events(stories, orders, notes), close)
        try:
            results = await unless_gone(request, all_of(stories, len(orders)))
        finally:
            close()
        if results is None:
            return Response(status_code=499)  # nobody reads it; the log has it, as nginx calls it
        for result in results:
            notes.done(result)
        return JSONAnswer(reply.whole(results))


async def all_of(stories: Stories, number: int) -> list[Result]:
    """The finished stories, in order."""
    results: dict[int, Result] = {}
    async for each, news in stories:
        if isinstance(news, Result):
            results[each] = news
    return [results[each] for each in range(number)]


def add_models(app: FastAPI, writers: Mapping[str, Writer], client: Callable[..., str]) -> None:
    """GET /v1/models and /v1/models/NAME."""
    started = int(time.time())
    models = {name: Model(id=name, created=started, revision=writer.revision) for name, writer in writers.items()}

    @app.get("/v1/models", responses={401: FAILURES[401]}, tags=["OpenAI"])
    async def list_models(name: Annotated[str, Depends(client)]) -> Models:
        """The models that are served."""
        return Models(data=list(models.values()))

    @app.get("/v1/models/{model:path}", responses={401: FAILURES[401], 404: FAILURES[404]}, tags=["OpenAI"])
    async def retrieve_model(model: str, name: Annotated[str, Depends(client)]) -> Model:
        """One model."""
        return models[find_model(writers, model).name]


def find_model(writers: Mapping[str, Writer], name: str | None) -> Writer:
    """The writer of that name, the first if there is no name. A name is looked up, and never a path to anything."""
    if name is None:
        return next(iter(writers.values()))
    if name not in writers:
        raise UnknownModelError(str(unknown_name("model", name, writers)))
    return writers[name]


def add_health(app: FastAPI, desk: Desk, metrics: Metrics, client: Callable[..., str]) -> None:
    """GET /healthz, /readyz and /metrics."""

    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz", response_class=PlainTextResponse, tags=["Operation"])
    async def is_alive() -> Response:
        """The process answers."""
        return PlainTextResponse("ok")

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", response_class=PlainTextResponse, responses={503: FAILURES[503]}, tags=["Operation"])
    async def is_ready() -> Response:
        """Requests are taken: the models are loaded, and the server is not about to stop."""
        return PlainTextResponse("ok") if desk.is_open else status_answer(503, "the server is about to stop")

    @app.get("/metrics", response_class=PlainTextResponse, responses={401: FAILURES[401]}, tags=["Operation"])
    async def figures(name: Annotated[str, Depends(client)]) -> Response:
        """Figures for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)
