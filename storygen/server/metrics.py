"""Figures for Prometheus: what was asked, how long it took, what the engines are at."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from storygen.writer import Result, Writer

SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """The figures of one server. Labels are names of routes and models only, so their number is bounded."""

    def __init__(self, writers: Mapping[str, Writer]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.requests = Counter("storygen_requests", "Requests answered.", ["route", "status"], registry=registry)
        self.seconds = Histogram(
            "storygen_request_seconds", "From a request to the end of its answer.", ["route"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.first_token = Histogram(
            "storygen_first_token_seconds", "From a request to its first token, waiting included.", ["model"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.tokens = Counter("storygen_tokens", "Tokens read and written.", ["model", "kind"], registry=registry)
        self.stories = Counter("storygen_stories", "Stories written.", ["model", "ending"], registry=registry)
        rows = Gauge("storygen_active_rows", "Sequences that the engine works on.", ["model"], registry=registry)
        waiting = Gauge("storygen_waiting_requests", "Requests in the engine's line.", ["model"], registry=registry)
        for name, writer in writers.items():
            if engine := getattr(writer, "engine", None):  # a remote writer has none
                rows.labels(name).set_function(lambda engine=engine: engine.active_rows)
                waiting.labels(name).set_function(lambda engine=engine: engine.waiting)

    def count_story(self, result: Result) -> None:
        """Takes a finished story into account."""
        self.first_token.labels(result.model).observe(result.seconds_to_first_token)
        self.tokens.labels(result.model, "read").inc(result.prompt_tokens)
        self.tokens.labels(result.model, "written").inc(len(result.logprobs))
        self.stories.labels(result.model, result.finish_reason).inc()

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
