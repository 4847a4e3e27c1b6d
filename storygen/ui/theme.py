"""Colours, type and spacing of the page. Everything is bundled: the page asks no other site for anything."""

import gradio as gr

SANS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
MONO = ["ui-monospace", "Menlo", "Consolas", "monospace"]
SERIF = "'Iowan Old Style', 'Palatino Linotype', Palatino, Georgia, 'Liberation Serif', serif"

THEME = gr.themes.Base(
    primary_hue=gr.themes.colors.indigo,
    secondary_hue=gr.themes.colors.indigo,
    neutral_hue=gr.themes.colors.stone,
    radius_size=gr.themes.sizes.radius_md,
    font=SANS,
    font_mono=MONO,
).set(
    body_background_fill="*neutral_50",
    block_border_width="1px",
    block_label_text_weight="600",
    block_title_text_weight="600",
    input_background_fill="white",
    input_background_fill_dark="*neutral_800",
    input_border_width="1px",
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_text_color="white",
    link_text_color_dark="*primary_300",
    link_text_color_hover_dark="*primary_200",
    link_text_color_visited_dark="*primary_300",
    link_text_color_active_dark="*primary_200",
)

CSS = f"""
.gradio-container {{ width: 100% !important; max-width: 1180px !important; margin: 0 auto !important; }}
.gradio-container > main {{ width: 100% !important; }}
.story textarea {{ font-family: {SERIF}; font-size: 1.1rem; line-height: 1.6; padding: 0.9rem 1.1rem; }}
.hint, .hint p {{ color: var(--body-text-color-subdued); font-size: 0.95rem; }}
:focus-visible {{ outline: 3px solid var(--primary-500) !important; outline-offset: 1px; }}
@media (prefers-reduced-motion: reduce) {{ * {{ animation: none !important; transition: none !important; }} }}
.gradio-container {{ --good: #16a34a; --bad: #dc2626; }}
footer .record.hidden + .divider {{ display: none; }}  /* it divides the first link from nothing */
table.board {{ width: 100%; border: 0 !important; border-collapse: collapse; font-size: 0.95rem; }}
table.board tr {{ border: 0 !important; }}
table.board th, table.board td {{
  padding: 0.35rem 0.6rem; text-align: left; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important;
}}
table.board td:not(:nth-child(2)) {{ font-variant-numeric: tabular-nums; }}
table.matrix {{ margin: 1rem 0; font-size: 0.8rem; }}
table.matrix caption, .chart figcaption {{ text-align: left; font-weight: 600; margin: 1rem 0 0.4rem; }}
.chart {{ margin: 0; overflow-x: auto; }}
.chart svg {{ width: 100%; max-width: 760px; height: auto; font-size: 12px; }}
.chart text {{ fill: var(--body-text-color); }}
.chart .grid {{ stroke: var(--border-color-primary); }}
.chart .bar {{ stroke: var(--primary-500); stroke-width: 2.5; }}
.chart .dot, .chart .fill {{ fill: var(--primary-600); }}
/* The height of the tab bar, which a phone has at its bottom, within a thumb's reach; 0 on a laptop. */
.gradio-container {{ --bar: clamp(0px, (761px - 100vw) * 1000, 3.5rem); }}
.gradio-container .main {{ padding-inline: clamp(0.8rem, 3vw, 2rem) !important; }}
footer {{ margin-bottom: var(--bar); }}
@media (max-width: 760px) {{  /* Gradio applies such rules below .contain only */
  table.board {{ font-size: 0.82rem; }} table.board th, table.board td {{ padding: 0.3rem; }}
  .tab-wrapper {{ position: fixed; inset: auto 0 0 0; z-index: 6; height: var(--bar); margin: 0; padding: 0 0.3rem; }}
  .tab-wrapper {{ background: var(--body-background-fill); border-top: 1px solid var(--border-color-primary); }}
  .tab-wrapper .tab-container {{ display: flex; flex-wrap: nowrap; width: 100%; height: 100%; }}
  .tab-wrapper .tab-container {{ background: none; }}
  .tab-wrapper .tab-container::after {{ display: none; }}
  .tab-wrapper button {{ flex: 1 0 min-content; justify-content: center; height: 100%; padding: 0 0.2rem; }}
  .tab-wrapper button {{ white-space: normal; text-align: center; font-size: 0.82rem; line-height: 1.15; }}
}}
#notes {{ border-left: 3px solid var(--color-accent); padding-left: 0.8rem !important; }}
"""
