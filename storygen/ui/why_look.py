"""Colours, spacing and keys of the Why tab."""

CSS = """
.gradio-container {
  --why-0: transparent; --why-1: #fef3c7; --why-2: #fde08a; --why-3: #fdba74; --why-4: #fb9a5c; --why-ink: #1c1917;
  --why-before: #a8a29e; --why-after: var(--primary-600); --why-pos: #1d4ed8; --why-neg: #c2410c;
}
.dark .gradio-container, .gradio-container.dark, .dark.gradio-container {
  --why-1: #3d3213; --why-2: #5a4510; --why-3: #7c4a14; --why-4: #9a3f14; --why-ink: #fafaf9;
  --why-before: #8f8a85; --why-after: var(--primary-400); --why-pos: #60a5fa; --why-neg: #fb923c;
}
.gradio-container { overflow: clip !important; }  /* hidden, as it is, lets nothing stick to the window's edge */
:is(#why-story, #why-panel, #why-branches, #why-beams, #why-inside-html) {
  color: var(--body-text-color);
  .html-container { padding: 0; }
}
.why-note { color: var(--body-text-color-subdued); font-size: 0.95rem; margin: 0 0 0.6rem; }
.why-empty { padding: 2.5rem 1rem; text-align: center; }
.why-empty p { margin: 0 auto 1rem; max-width: 34rem; }
.why-action {
  background: var(--primary-600); color: white; border-radius: 8px; padding: 0.6rem 1.1rem; font-weight: 600;
}
.why-action:hover { background: var(--primary-700); }
.why-legend { display: flex; flex-wrap: wrap; gap: 0.3rem; align-items: center; margin: 0 0 0.7rem; }
.why-legend .why-note { margin: 0 0.3rem 0 0; }
.why-legend span:not(.why-note) { border-radius: 4px; padding: 0.05rem 0.5rem; font-size: 0.85rem; }
.why-legend .s0 { box-shadow: inset 0 0 0 1px var(--border-color-primary); }
.s0 { background: var(--why-0); color: var(--body-text-color); }
.s1 { background: var(--why-1); color: var(--why-ink); } .s2 { background: var(--why-2); color: var(--why-ink); }
.s3 { background: var(--why-3); color: var(--why-ink); } .s4 { background: var(--why-4); color: var(--why-ink); }
.why-story {
  font-family: 'Iowan Old Style', 'Palatino Linotype', Palatino, Georgia, 'Liberation Serif', serif;
  font-size: 1.12rem; line-height: 1.95; white-space: pre-wrap; overflow-wrap: anywhere; max-width: 42rem;
  min-height: 14rem; background: var(--block-background-fill); border: 1px solid var(--border-color-primary);
  border-radius: 8px; padding: 0.9rem 1.1rem;
}
.why-story .given { color: var(--body-text-color-subdued); }
.why-story button {
  display: inline; font: inherit; line-height: 1.3; border: 0; border-radius: 4px; padding: 0.08em 0.14em;
  margin: 0 -0.08em; cursor: pointer; scroll-margin: 5rem 0 1rem; max-width: 100%; white-space: pre-wrap;
}
.why-story button:hover { box-shadow: 0 0 0 1.5px var(--primary-400); }
.why-story button:focus-visible, .why-step button:focus-visible, .why-tree button:focus-visible,
.why-action:focus-visible, .why-attention:focus-visible, .why-strip:focus-visible {
  outline: 3px solid var(--primary-500); outline-offset: 1px;
}
.why-story button[aria-pressed=true] { box-shadow: 0 0 0 2px var(--primary-600); }
.dark .why-story button[aria-pressed=true] { box-shadow: 0 0 0 2px var(--primary-300); }
.why-story button.cut { text-decoration: line-through; }
.why-story mark { background: var(--primary-600); color: white; border-radius: 4px; padding: 0.05em 0.1em; }
.why-story .caret {
  display: inline-block; width: 0.5em; height: 1.1em; vertical-align: -0.15em; background: var(--primary-500);
  animation: why-blink 1s steps(2) infinite;
}
@keyframes why-blink { 50% { opacity: 0; } }
#why-side { position: sticky; top: 0.8rem; align-self: flex-start; }
.why-step, .why-hint {
  background: var(--block-background-fill); border: 1px solid var(--border-color-primary); border-radius: 8px;
  padding: 0.8rem 1rem;
}
.why-step > button.close { display: none; float: right; width: 2.2rem; height: 2.2rem; font-size: 1.3rem; }
.why-step h2 { font-size: 1.3rem; font-weight: 700; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
.why-step h3 { font-weight: 600; margin: 0.8rem 0 0.2rem; }
.why-step p { margin: 0 0 0.5rem; }
.why-step dl { display: grid; grid-template-columns: repeat(3, 1fr); gap: 0.5rem; margin: 0 0 0.6rem; }
.why-step dt { color: var(--body-text-color-subdued); font-size: 0.85rem; }
.why-step dd { margin: 0; font-size: 0.85rem; }
.why-step dt + dd { font-size: 1.25rem; font-weight: 700; font-variant-numeric: tabular-nums; }
.why-step .chips { display: flex; flex-wrap: wrap; gap: 0.3rem; margin: 0 0 0.6rem; }
.why-step .chips button {
  border: 1px solid var(--border-color-primary); border-radius: 6px; padding: 0.15rem 0.6rem; min-height: 1.9rem;
}
.why-step .chips button[aria-pressed=true] { box-shadow: 0 0 0 2px var(--primary-600); }
.why-step ol.bars { list-style: none; margin: 0 0 0.6rem; padding: 0; }
.bars li { margin: 0; padding: 0; }
.bars li > * {
  display: grid; grid-template-columns: minmax(4.8rem, 24%) 1fr 8.2rem; gap: 0.6rem; align-items: center; width: 100%;
  text-align: left; padding: 0.22rem 0.4rem; border-radius: 6px; font-size: 0.95rem; min-height: 1.9rem;
}
.bars button { cursor: pointer; } .bars button:hover { background: var(--background-fill-secondary); }
.bars .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.bars button .name { text-decoration: underline dotted; text-underline-offset: 3px; }
.bars .tracks { display: grid; gap: 2px; }
.bars .tracks span { display: block; height: 6px; border-radius: 3px; min-width: 1px; }
.bars .before, .key.before::before { background: var(--why-before); }
.bars .after, .key.after::before { background: var(--why-after); }
.bars .figures { font-size: 0.85rem; font-variant-numeric: tabular-nums; white-space: nowrap; }
.bars .chosen .name { font-weight: 700; }
.bars .chosen > div { box-shadow: inset 0 0 0 1px var(--border-color-primary); }
.bars .cut .name, .bars .cut .figures { color: var(--body-text-color-subdued); }
.bars .cut .before { opacity: 0.45; } .bars .cut .after { display: none; }
.key { white-space: nowrap; margin-right: 0.9rem; }
.key::before {
  content: ""; display: inline-block; width: 0.8em; height: 0.6em; border-radius: 2px; margin-right: 0.3em;
}
.key.pos::before { background: var(--why-pos); } .key.neg::before { background: var(--why-neg); }
.why-tree, .why-tree ul { list-style: none; margin: 0; padding: 0; }
.why-tree ul { margin-left: 0.5rem; padding-left: 0.8rem; border-left: 2px solid var(--border-color-primary); }
.why-tree li { margin: 0.15rem 0; padding: 0; }
.why-tree button {
  text-align: left; padding: 0.35rem 0.6rem; border-radius: 6px; width: 100%; min-height: 2rem; cursor: pointer;
}
.why-tree button:hover { background: var(--background-fill-secondary); }
.why-tree button[aria-current] {
  background: var(--background-fill-secondary); box-shadow: inset 3px 0 0 var(--primary-600);
}
.why-tree small, .why-tree .end { color: var(--body-text-color-subdued); font-size: 0.85rem; }
.why-tree.beams li.best > span:first-child { font-weight: 600; }
.why-tree details { display: inline; } .why-tree summary { cursor: pointer; display: inline; list-style: none; }
.why-tree details[open] summary { display: none; }
.why-attention {
  white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.75; max-height: 22rem; overflow-y: auto;
  border: 1px solid var(--border-color-primary); border-radius: 8px; padding: 0.7rem 0.9rem;
}
.why-attention span[style] {
  background: color-mix(in srgb, var(--primary-500) calc(var(--w) * 0.65), transparent); border-radius: 3px;
}
.why-strip { margin: 0; width: fit-content; max-width: 100%; overflow-x: auto; direction: rtl; }  /* from its end */
.why-strip svg { font-size: 11px; max-width: none; direction: ltr; }
.why-strip text { fill: var(--body-text-color); } .why-strip .fill { fill: var(--why-before); }
.why-strip .pos { fill: var(--why-pos); } .why-strip .neg { fill: var(--why-neg); }
.gradio-container:has(.why-story[aria-busy]) #why-branches { opacity: 0.6; }
@media (max-width: 760px) {
  #why-side:has(.why-step) {
    top: auto; bottom: var(--bar); max-height: 52vh; overflow-y: auto; z-index: 5;
    background: var(--body-background-fill);
    box-shadow: 0 -6px 18px rgb(0 0 0 / 18%); border-radius: 12px 12px 0 0;
  }
  .why-step dt + dd { font-size: 1.05rem; }
  .why-step > button.close { display: block; }
  .why-story button, .why-story mark { scroll-margin-bottom: 62vh; }
  .why-story { min-height: 8rem; font-size: 1.06rem; padding: 0.7rem 0.8rem; }
  .bars li > * { grid-template-columns: minmax(4.5rem, 28%) 1fr 7.6rem; gap: 0.4rem; }
}
@media (prefers-reduced-motion: reduce) { .why-story .caret { animation: none; } }
"""

STORY_JS = """
const words = () => [...element.querySelectorAll('.why-story button')];
const reach = (button) => {
  for (const each of words()) each.tabIndex = each === button ? 0 : -1;
};
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  if (!button) return;
  if ('begin' in button.dataset) { trigger('begin', {}); return; }
  for (const each of words()) each.setAttribute('aria-pressed', String(each === button));
  reach(button);
  trigger('select', {token: Number(button.dataset.token)});
});
element.addEventListener('keydown', (event) => {
  const all = words(), at = all.indexOf(document.activeElement);
  const to = {ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1}[event.key];
  if (at < 0 || to === undefined || !all[to]) return;
  event.preventDefault();
  reach(all[to]);
  all[to].focus();
});
let shown = null, tall = 0;
watch('value', () => {
  const story = element.querySelector('.why-story');
  if (story && story.hasAttribute('aria-busy')) story.style.minHeight = tall + 'px';  // what is below does not jump
  else if (story) { story.style.minHeight = ''; tall = story.offsetHeight; }
  const mark = element.querySelector('mark, [aria-pressed=true]');
  const name = mark && mark.tagName;  // once as a branch begins and once as it ends, not with each piece
  if (mark && name !== shown) mark.scrollIntoView({block: 'nearest'});
  shown = name;
});
"""
"""A click explains a word, arrow keys go from word to word: the story is one stop of the Tab key."""

PANEL_JS = """
element.addEventListener('click', (event) => {
  const data = (event.target.closest('button') || {dataset: {}}).dataset;
  if ('pick' in data) trigger('pick', {token: Number(data.pick)});
  else if ('token' in data) trigger('select', {token: Number(data.token)});
  else if ('halt' in data) trigger('halt', {});
  else if ('close' in data) trigger('close', {});
});
"""

BRANCHES_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  const isFree = !document.querySelector('.why-story[aria-busy]');  // nothing is being written
  if (button && isFree) trigger('select', {branch: Number(button.dataset.branch)});
});
"""
