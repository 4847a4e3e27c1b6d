"""What docs/api.md tells people to type, typed."""

import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from storygen.arena.opening import open_arena
from tests.server.conftest import OPEN, serving, writers  # noqa: F401 (a fixture)

TEXT = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"(?:^    .*\n|^\n(?=    ))+", TEXT, re.MULTILINE)


@pytest.fixture(scope="module")
def server(writers, tmp_path_factory):  # noqa: F811
    from storygen.ui.page import build_page

    page = build_page(writers, open_arena(writers, {"STORYGEN_VOTES": str(tmp_path_factory.mktemp("votes"))}))
    with serving(writers, OPEN, page) as server:
        yield server


def blocks(begin, server):
    """The indented blocks that begin so, as they are to be typed at this server."""
    found = [textwrap.dedent(block).strip() for block in BLOCKS]
    found = [block.replace("http://127.0.0.1:7860", server.url) for block in found if block.startswith(begin)]
    assert found
    return found


def test_the_curl_commands(server):
    answers = [
        subprocess.run(["bash", "-c", block], capture_output=True, text=True, timeout=30).stdout
        for block in blocks("curl", server)
    ]
    assert ['"finish_reason": "' in answer for answer in answers] == [True, True]
    assert answers[-1].endswith("data: [DONE]\n\n")


def test_the_python_code(server, capsys):
    names = {}
    for block in blocks(("from openai", "answer = client", "from gradio_client"), server):
        exec(block, names)
    assert len(names["story"]) > 0
    assert len(capsys.readouterr().out) > 100
