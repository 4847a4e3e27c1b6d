"""Votes as the arena writes them, for tests of what reads them."""

import itertools

from storygen.config import GenerationConfig

_numbers = itertools.count()


def side(model="transformer", strategy="top_p", text="Once there was a fox. The end.", revision="r1", **settings):
    config = GenerationConfig(strategy=strategy, seed=7, **settings).to_dict()
    return {
        "model": model,
        "revision": revision,
        "config": config,
        "seed": 7,
        "text": text,
        "logprob": -20.0,
        "bytes": len(text),
        "finish_reason": "end",
    }


def vote(verdict="left", rater="ann", left=None, right=None, **changes):
    """A vote that counts, with fields changed."""
    number = next(_numbers)
    return {
        "schema": 1,
        "id": f"vote-{number}",
        "ts": "2026-11-25T10:00:00.000+00:00",
        "battle_id": f"battle-{number}",
        "rater": rater,
        "mode": "blind",
        "prompt": {"title": "The Fox", "opening": ""},
        "prompt_source": "suggestion",
        "left": left or side(),
        "right": right or side("lstm", text="A dog sat down. It slept."),
        "verdict": verdict,
        "tags": [],
        "note": "",
        "dwell_ms": 20_000,
        "app_version": "test",
        **changes,
    }
