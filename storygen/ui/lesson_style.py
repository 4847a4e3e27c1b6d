"""The look of the How-it-works tab, in the page's own colours where there are any."""

CSS = """
.gradio-container {
  --hue-1: #1d4ed8; --hue-2: #b45309; --hue-3: #047857; --hue-4: #be123c; --hue-5: #7e22ce; --hue-6: #0e7490;
}
.dark .gradio-container, .gradio-container.dark {
  --hue-1: #93c5fd; --hue-2: #fcd34d; --hue-3: #6ee7b7; --hue-4: #fda4af; --hue-5: #d8b4fe; --hue-6: #67e8f9;
}
.lesson .html-container { padding: 0 !important; }
.lesson .says { max-width: 44rem; margin: 0.4rem 0; font-size: 1rem; line-height: 1.6; }
.lesson .examples { flex-wrap: wrap; gap: 0.5rem; }
.lesson .examples button { flex: 0 0 auto; width: auto; }
.lesson h2.step { display: flex; gap: 0.6rem; align-items: baseline; margin: 1.6rem 0 0.4rem; font-size: 1.35rem;
  font-weight: 600; }
.lesson h2.step span { color: var(--hue-1); font-variant-numeric: tabular-nums; }
.lesson .formula { max-width: 44rem; margin: 0.6rem 0; padding-left: 0.9rem; line-height: 1.6;
  border-left: 3px solid var(--border-color-primary); color: var(--body-text-color-subdued); }
.lesson .formula span { display: block; color: var(--body-text-color); font-size: 1.1rem;
  font-family: 'Iowan Old Style', Palatino, Georgia, 'Liberation Serif', serif; font-style: italic; }
.lesson caption, .lesson figcaption { padding: 0.4rem 0; text-align: left; font-weight: 600; }
.lesson .map figcaption { max-width: 44rem; font-weight: 400; }
.lesson .cuts { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
.lesson .cuts section { padding: 0.8rem 1rem; border: 1px solid var(--border-color-primary);
  border-radius: var(--radius-lg); background: var(--block-background-fill); }
.lesson .cuts h3 { margin: 0 0 0.3rem; font-size: 1.05rem; font-weight: 600; }
.lesson .cuts h3 small { font-weight: 400; color: var(--body-text-color-subdued); }
.lesson .cuts p { margin: 0.3rem 0; }
.lesson .lost { color: var(--hue-4); }
.lesson q { overflow-wrap: anywhere; }
.lesson ul.chips { display: flex; flex-wrap: wrap; gap: 0.25rem; margin: 0.5rem 0; padding: 0; list-style: none; }
.lesson ul.chips li { display: flex; flex-direction: column; align-items: center; margin: 0; padding: 0.1rem 0.35rem;
  min-width: 1.6rem; border-radius: var(--radius-sm); border: 1px solid color-mix(in srgb, var(--hue) 45%, transparent);
  background: color-mix(in srgb, var(--hue) 14%, transparent); line-height: 1.3; overflow-wrap: anywhere; }
.lesson ul.chips b { font-weight: 500; }
.lesson ul.chips small { font-size: 0.72rem; color: var(--body-text-color); font-variant-numeric: tabular-nums; }
.lesson ul.shares li { --hue: var(--hue-1);
  background: color-mix(in srgb, var(--hue) calc(var(--share) * 0.45), transparent); }
.lesson ul.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.2rem; margin: 0.4rem 0; padding: 0;
  list-style: none; }
.lesson ul.legend li { margin: 0; color: var(--hue, inherit); }
.lesson ul.legend svg { display: inline-block; width: 34px; height: 8px; margin-right: 0.4rem; }
.lesson .map { margin: 0; }
.lesson .map div { position: relative; height: 24rem; margin: 0.3rem 0; overflow: hidden;
  border: 1px solid var(--border-color-primary); border-radius: var(--radius-lg);
  background: var(--block-background-fill); }
.lesson .map span { position: absolute; transform: translate(-50%, -50%); color: var(--hue); font-size: 0.88rem;
  line-height: 1; white-space: nowrap; }
.lesson .wide { overflow-x: auto; max-width: 100%; }
.lesson table { border-collapse: collapse; border: 0 !important; }
.lesson table tr { border: 0 !important; background: none !important; }
.lesson table.bars { width: 100%; table-layout: fixed; font-variant-numeric: tabular-nums; }
.lesson table.bars th, .lesson table.bars td { padding: 0.12rem 0.5rem; text-align: left;
  border: 0 !important; font-weight: 400; }
.lesson table.bars th:first-child { width: 28%; overflow: hidden; text-overflow: ellipsis; text-align: right; }
.lesson table.bars tbody th { font-weight: 500; white-space: nowrap; }
.lesson table.bars .others th { white-space: normal; font-weight: 400; }
.lesson table.bars tbody td:not(.meter), .lesson table.bars thead th:not(:first-child) { width: 4.4rem;
  text-align: right; }
.lesson table.bars thead th { color: var(--body-text-color-subdued); text-align: right; }
.lesson .meter span { display: block; height: 0.55rem; min-width: 1px; border-radius: 2px; transition: width 120ms; }
.lesson .meter .was { height: 0.35rem; background: var(--neutral-400); }
.lesson .meter .is { background: var(--hue-1); }
.lesson tr.cut th, .lesson tr.cut td, .lesson tr.others th, .lesson tr.others td {
  color: var(--body-text-color-subdued); }
.lesson tr.cut th { text-decoration: line-through; }
.lesson tr.cut .is { visibility: hidden; }
.lesson table.shades { font-size: 0.8rem; }
.lesson table.shades th, .lesson table.shades td { padding: 0; border: 0 !important; font-weight: 400; }
.lesson table.shades tbody th { padding-right: 0.4rem; text-align: right; white-space: nowrap; }
.lesson table.shades thead th { vertical-align: bottom; }
.lesson table.shades thead span { display: inline-block; writing-mode: vertical-rl; transform: rotate(180deg);
  white-space: nowrap; }
.lesson table.shades tbody td { position: relative; width: 1.7rem; min-width: 1.3rem; height: 1.5rem;
  box-shadow: inset 0 0 0 1px var(--border-color-primary);
  background: color-mix(in srgb, var(--hue-1) var(--share, 0%), transparent); }
.lesson table.shades tbody td:empty { box-shadow: none; }
.lesson table.shades td span { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
.lesson table.shades tbody tr:hover th { font-weight: 700; }
.lesson table.board { width: auto; min-width: min(100%, 34rem); }
.lesson table.board th[scope=row] { min-width: 9rem; font-weight: 400; }
.lesson details { margin: 0.6rem 0; }
.lesson summary { cursor: pointer; }
.lesson .wide:focus-visible, .lesson summary:focus-visible { outline: 2px solid var(--hue-1); outline-offset: 2px; }
.lesson .line { fill: none; stroke-width: 2; stroke: var(--hue-1); }
.lesson .line-2 { stroke: var(--hue-2); stroke-dasharray: 7 3; }
.lesson .line-3 { stroke: var(--hue-3); stroke-dasharray: 2 3; }
.lesson .line-4 { stroke: var(--hue-5); stroke-dasharray: 9 3 2 3; }
@media (max-width: 600px) {
  .lesson .chart svg[role=img] { font-size: 20px; }
  .lesson .map div { height: 22rem; }
  .lesson table.bars th:first-child { width: 34%; }
  .lesson table.board { min-width: 0; font-size: 0.85rem; }
  .lesson table.board th, .lesson table.board td { padding: 0.3rem 0.4rem; }
  .lesson table.board th[scope=row] { min-width: 7rem; }
}
@media (prefers-reduced-motion: reduce) { .lesson .meter span { transition: none; } }
"""
