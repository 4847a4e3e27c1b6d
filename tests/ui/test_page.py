import gradio as gr
import httpx

from storygen.ui.page import build_notes, launch


def test_notes_stand_on_the_page_as_plain_text():
    """They carry names from the environment and messages of servers, which may hold anything."""
    with gr.Blocks() as page:
        build_notes([])
        build_notes(["no *model* <img src=x>", "second"])
    [shown] = [component["props"] for component in page.config["components"] if component["type"] == "markdown"]
    assert shown["elem_id"] == "notes"
    assert shown["value"] == "no &#42;model&#42; &#60;img src&#61;x&#62;  \nsecond"


def test_a_busy_machine_ends_no_app(monkeypatch):
    """Gradio gives up when its first look at the page takes over 3 s: the app ended on machines with much to do."""
    monkeypatch.setattr("gradio.networking.url_ok", lambda url: False)
    with gr.Blocks(analytics_enabled=False) as page:
        gr.Markdown("here")
    try:
        assert httpx.get(launch(page, prevent_thread_lock=True, quiet=True)).status_code == 200
    finally:
        page.close()
