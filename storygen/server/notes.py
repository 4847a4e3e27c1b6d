"""What the log's line on a request tells, and the figures."""

from collections.abc import Sequence
from typing import Any

from storygen.errors import StorygenError
from storygen.server.metrics import Metrics
from storygen.server.stories import Order
from storygen.writer import Result


class Notes:
    """Takes a request into the log and the figures."""

    def __init__(self, entry: dict[str, Any], tell_texts: bool, metrics: Metrics) -> None:
        self._entry, self._tell_texts, self._metrics = entry, tell_texts, metrics

    def asked(self, orders: Sequence[Order], stream: bool) -> None:
        """What is asked for."""
        self._entry.update(
            model=orders[0].writer.name, strategy=orders[0].config.strategy, stories=len(orders), stream=stream,
            max_tokens=orders[0].config.max_new_tokens, read=0, written=0,
        )  # fmt: skip
        if self._tell_texts:
            self._entry.update(title=orders[0].title, prompts=[order.opening for order in orders], texts=[])

    def done(self, result: Result) -> None:
        """A story is finished."""
        self._metrics.count_story(result)
        self._entry["read"] += result.prompt_tokens
        self._entry["written"] += len(result.logprobs)
        self._entry["ending"] = result.finish_reason
        self._entry.setdefault("first_token_seconds", round(result.seconds_to_first_token, 4))
        if self._tell_texts:
            self._entry["texts"].append(result.text)

    def failed(self, error: StorygenError) -> None:
        """The stories broke off after the answer had begun."""
        self._entry.update(error=type(error).__name__, message=str(error))

    def gone(self) -> None:
        """The client has hung up before it had all."""
        self._entry.setdefault("error", "gone")
