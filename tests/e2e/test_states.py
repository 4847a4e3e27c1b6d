"""The page while a story waits, while the server is out of reach, and when its visitor has gone."""

import gc
import time

import pytest

from storygen.arena.opening import open_arena
from storygen.artifact import Artifact
from storygen.config import GenerationConfig
from storygen.ui.page import build_page, launch
from storygen.writer import Writer
from tests.e2e.conftest import expect, printable, set_number, story, visit
from tests.toys import Gate

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def slow_page(tokenizer, tmp_path_factory):
    """The page, served by this process, of a model that writes one story at a time, when it is let.

    Gives its address, the writer and the Blocks.
    """
    writer = Writer(Artifact(Gate(tokenizer.vocab_size, never=3), tokenizer, "gate", "0"))
    writer.engine.max_rows = 1
    votes = tmp_path_factory.mktemp("votes")
    page = build_page({"gate": writer}, open_arena({"gate": writer}, {"STORYGEN_VOTES": str(votes)}))
    url = launch(page, prevent_thread_lock=True, quiet=True)
    yield url, writer, page
    writer.model.let(100_000)
    page.close()
    writer.engine.close()


def wait_until_idle(writer):
    end = time.monotonic() + 30
    while writer.is_busy:
        assert time.monotonic() < end, "the story is still being written"
        gc.collect()
        time.sleep(0.05)


def write(page, writer, tokens):
    """Has at most 20 tokens of a story written."""
    set_number(page, "max-new-tokens", tokens)
    page.locator("#write").click()
    writer.model.let(21)


def test_who_waits_is_told_the_place(browser, slow_page):
    """The first one's story once said "Writing ..." to all who waited for it."""
    url, writer, _ = slow_page
    short = GenerationConfig(max_new_tokens=3)
    running, before = (writer.engine.submit([1], short) for _ in range(2))
    with visit(browser, url) as page:
        set_number(page, "max-new-tokens", 20)
        page.locator("#write").click()
        expect(page.locator("#status")).to_have_text("One story is written before yours.")
        before.cancel()
        writer.model.let(2)
        expect(page.locator("#status")).to_have_text("Yours is the next story to be written.")
        writer.model.let(30)
        expect(page.locator("#status")).to_contain_text("tokens in")
        assert story(page)
    assert running.finish_reason == "length"


def test_a_full_queue_leaves_the_page_usable(browser, slow_page, monkeypatch):
    """Nothing followed an event that was turned away, so the page stayed locked until it was loaded anew."""
    url, writer, blocks = slow_page
    with visit(browser, url) as page:
        with monkeypatch.context() as patch:
            patch.setattr(blocks._queue, "max_size", 0)
            page.locator("#write").click()
            expect(page.locator(".toast-body")).to_contain_text("busy")
            expect(page.locator("#write")).to_be_enabled()
            expect(page.locator("#story textarea")).to_be_editable()
        page.complaints.clear()  # of the browser, on the refusal
        write(page, writer, tokens=10)
        expect(page.locator("#status")).to_contain_text("tokens in")


def test_what_was_written_outlives_the_connection(browser, slow_page):
    """Gradio loads the page anew when the server is back, and the story is gone."""
    url, writer, blocks = slow_page
    lost, back = "#connection-lost", "#connection-back"
    with visit(browser, url) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        write(page, writer, tokens=10)
        expect(page.locator("#status")).to_contain_text("tokens in")
        expect(page.locator("#write")).to_be_enabled()
        expect(page.locator(lost)).not_to_be_visible()
        page.context.set_offline(True)
        expect(page.locator(lost)).to_be_visible()
        page.context.set_offline(False)
        expect(page.locator(lost)).not_to_be_visible()
        write(page, writer, tokens=2000)  # as if nothing had been
        expect(page.locator("#status")).to_have_text("Writing ...")
        page.context.set_offline(True)  # which leaves what is open already
        for connection in list(blocks.server.server_state.connections):
            connection.loop.call_soon_threadsafe(connection.transport.abort)
        expect(page.locator(lost)).to_contain_text("What is written here stays")
        written = story(page)
        page.get_by_role("button", name="Copy").first.click()
        assert printable(page.evaluate("navigator.clipboard.readText()")) == printable(written) != ""
        page.context.set_offline(False)
        expect(page.locator(back)).to_be_visible()
        expect(page.locator(".toast-body")).not_to_be_visible()  # Gradio's own message, which would stay
        assert story(page) == written
        page.complaints.clear()  # of the browser, on what it could not fetch
        page.get_by_role("link", name="load the page anew").click()
        expect(page.locator("#story textarea")).to_have_value("")
        expect(page.locator(back)).not_to_be_visible()
    writer.model.let(500)
    wait_until_idle(writer)


def test_a_closed_tab_frees_the_engine(browser, slow_page):
    """Sixteen visitors who have gone would leave no room for the next one."""
    url, writer, _ = slow_page
    with visit(browser, url) as page:
        write(page, writer, tokens=2000)
        page.wait_for_function("document.querySelector('#story textarea').value.length > 3")
        assert writer.engine.active_rows == 1
    writer.model.let(500)  # a quarter of the story: it could not end by itself
    wait_until_idle(writer)
