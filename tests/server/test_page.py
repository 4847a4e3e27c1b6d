"""The page and its API on the server's port."""

import json
import re

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from storygen.arena.opening import open_arena
from storygen.config import GenerationConfig
from storygen.server.keys import add_key
from tests.server.conftest import OPEN, client_of, fetch, serving


@pytest.fixture(scope="module")
def make_page(writers, tmp_path_factory):
    from storygen.ui.page import build_page

    return lambda: build_page(writers, open_arena(writers, {"STORYGEN_VOTES": str(tmp_path_factory.mktemp("votes"))}))


@pytest.fixture(scope="module")
def paged(writers, make_page):
    with serving(writers, OPEN, make_page()) as server:
        yield server


def test_page_api_and_v1_share_a_port(paged):
    status, headers, content = fetch(paged, "GET", "/")
    assert (status, "gradio" in content.decode()) == (200, True)
    assert headers["X-Frame-Options"] == "DENY"
    assert client_of(paged).models.list().data
    assert fetch(paged, "GET", "/readyz")[2] == b"ok"
    routes = re.findall('storygen_requests_total{route="([^"]+)"', fetch(paged, "GET", "/metrics")[2].decode())
    assert {"page", "/v1/models", "/readyz"} <= set(routes)
    assert all(route == "page" or not route.startswith("/gradio") for route in routes)


def test_other_paths_of_the_api_are_refused_in_its_own_shape(paged):
    """Gradio, which has all other paths, answered for them in another shape."""
    for method, path, status, code in (
        ("POST", "/v1/chat/completions", 404, "not_found"),
        ("GET", "/v1/embeddings", 404, "not_found"),
        ("GET", "/v1/completions", 405, "method_not_allowed"),
    ):
        answer = fetch(paged, method, path)
        assert (answer[0], json.loads(answer[2])["error"]["code"]) == (status, code)
    assert fetch(paged, "HEAD", "/healthz")[0] == 200


def test_the_page_looks_and_works_as_that_of_the_app(paged):
    """Mounted with a part of LOOK only, it had no shades, no columns and no keys."""
    from storygen.ui.page import LOOK

    page = json.loads(fetch(paged, "GET", "/config")[2])
    assert (page["css"], page["js"]) == (LOOK["css"], LOOK["js"])


def test_a_typed_endpoint_for_programs(paged, writers):
    """gr.api: the names, types and defaults of the function, and the story that Python gives."""
    program = Client(paged.url, verbose=False)
    told = program.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert list(told) == ["/generate_story"]
    assert "request" not in {each["parameter_name"] for each in told["/generate_story"]["parameters"]}
    types = {each["parameter_name"]: each["python_type"]["type"] for each in told["/generate_story"]["parameters"]}
    assert (types["title"], types["top_k"], types["temperature"]) == ("str", "int", "float")
    assert told["/generate_story"]["returns"][0]["python_type"]["type"] == "str"
    asked = {"title": "The Fox", "opening": "Once", "model": "lstm", "seed": 7, "max_new_tokens": 15}
    config = GenerationConfig(seed=7, max_new_tokens=15)
    assert (
        program.predict(**asked, api_name="/generate_story")
        == writers["lstm"].generate("Once", "The Fox", config).story
    )
    with pytest.raises(AppError, match="top_p is 3.0; it must be a number from 0.0 to 1.0"):
        program.predict(top_p=3.0, api_name="/generate_story")
    with pytest.raises(AppError, match="unknown model 'x'; known: transformer, lstm"):
        program.predict(model="x", api_name="/generate_story")
    with pytest.raises(AppError, match="the title has 501 characters; at most 500 are allowed"):
        program.predict(title="x" * 501, api_name="/generate_story")


def test_the_page_takes_no_files(paged):
    """Gradio's own endpoint would put them on the disk, whoever sends them."""
    assert (
        fetch(paged, "POST", "/gradio_api/upload", b"x", {"Content-Type": "multipart/form-data; boundary=x"})[0] == 404
    )


@pytest.mark.parametrize(
    "path", ["/gradio_api/file=/etc/passwd", "/gradio_api/file=../../../../etc/passwd", "/static/../../../etc/passwd",
             "/gradio_api/file=checkpoints/transformer/config.json", "/gradio_api/proxy=http://127.0.0.1:1/x"]
)  # fmt: skip
def test_the_page_gives_no_file_of_the_machine(paged, path):
    status, _, content = fetch(paged, "GET", path)
    assert status in (400, 403, 404)
    assert b"root:" not in content and b"architecture" not in content


def test_with_keys_the_page_asks_for_one(writers, make_page, tmp_path):
    """Otherwise the page's API would be the way around them."""
    key = add_key(tmp_path / "keys", "alice")
    with serving(writers, OPEN.replace(keys=str(tmp_path / "keys")), make_page()) as server:
        for path in ("/config", "/gradio_api/info", "/gradio_api/openapi.json"):
            assert fetch(server, "GET", path)[0] == 401
        body, json_type = json.dumps({"data": []}), {"Content-Type": "application/json"}
        for path in ("/gradio_api/call/generate_story", "/gradio_api/run/generate_story", "/gradio_api/queue/join"):
            assert fetch(server, "POST", path, body, json_type)[0] == 401
        with pytest.raises(ValueError, match="Could not login"):
            Client(server.url, auth=("alice", key + "x"), verbose=False)
        program = Client(server.url, auth=("anybody", key), verbose=False)
        assert program.predict(max_new_tokens=1, api_name="/generate_story") is not None
