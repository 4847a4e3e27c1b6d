import gradio as gr

from storygen.ui.page import build_notes


def test_notes_stand_on_the_page_as_plain_text():
    """They carry names from the environment and messages of servers, which may hold anything."""
    with gr.Blocks() as page:
        build_notes([])
        build_notes(["no *model* <img src=x>", "second"])
    [shown] = [component["props"] for component in page.config["components"] if component["type"] == "markdown"]
    assert shown["elem_id"] == "notes"
    assert shown["value"] == "no &#42;model&#42; &#60;img src&#61;x&#62;  \nsecond"
