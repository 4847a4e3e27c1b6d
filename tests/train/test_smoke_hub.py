"""The script for a person with a token, with the stand-in in place of the real Hub: what it does itself is right."""

import pytest

from scripts import smoke_hub
from storygen.errors import StorygenError


def test_it_tries_everything_and_leaves_nothing(hub, released, capsys):
    smoke_hub.main(["--model", str(released)])
    out = capsys.readouterr().out
    assert out.count("ok: ") == 5
    assert "written again, the same" in out
    assert hub.repos == {}


def test_a_failure_is_told_and_leaves_nothing(hub, released):
    """A repository with a random name would stay in somebody's account."""
    hub.faults["resolve/.*/model.safetensors"] = [403]
    with pytest.raises(StorygenError, match="is gated"):
        smoke_hub.main(["--model", str(released)])
    assert hub.repos == {}
    assert hub.asked("DELETE /api/repos/delete")
