"""Colours, type and spacing of the page. Everything is bundled: the page asks no other site for anything."""

import gradio as gr

SERIF = "Georgia, 'Iowan Old Style', 'Palatino Linotype', 'Liberation Serif', serif"

THEME = gr.themes.Soft(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.amber,
    neutral_hue=gr.themes.colors.stone,
    radius_size=gr.themes.sizes.radius_md,
)

CSS = f"""
.gradio-container {{ max-width: 1180px !important; margin: 0 auto !important; }}
.story textarea {{
    font-family: {SERIF}; font-size: 1.08rem; line-height: 1.65; padding: 1rem 1.1rem; min-height: 20rem;
}}
.hint, .hint p {{ color: var(--body-text-color-subdued); font-size: 0.92rem; }}
.reveal {{ min-height: 3.4rem; }}
.verdicts button {{ min-width: 9rem; }}
"""
