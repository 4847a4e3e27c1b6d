"""Who rates: a random name that the browser keeps, or the Hugging Face account of somebody who has logged in."""

import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass

import gradio as gr

from storygen.arena.battle import Arena
from storygen.ui.events import QUIET


@dataclass(frozen=True)
class RaterWidgets:
    """The widgets from which `rater_of` tells who rates."""

    browser: gr.BrowserState


def build_rater(page: gr.Blocks, arena: Arena) -> RaterWidgets:
    """Places a login button, where logging in is possible, and gives each browser a random name that it keeps."""
    if os.environ.get("OAUTH_CLIENT_ID"):  # a Space with hf_oauth; elsewhere the button needs a token to work at all
        gr.LoginButton(size="sm", min_width=120)
    # Without a key of ours Gradio draws a new one at each start, and everybody is forgotten.
    key = hmac.new(arena.secret, b"browser", hashlib.sha256).hexdigest()
    browser = gr.BrowserState("", storage_key="storygen-rater", secret=key)
    page.load(lambda kept: kept or secrets.token_hex(16), browser, browser, queue=False, **QUIET)
    return RaterWidgets(browser)


def rater_of(arena: Arena, kept: str, profile: gr.OAuthProfile | None, request: gr.Request) -> str:
    """The pseudonym of who is at the page. Without login or storage it is new with each visit."""
    if profile is not None:
        return arena.rater(f"account {profile.username}")
    return arena.rater(f"browser {kept}" if kept else f"visit {request.session_hash}")
