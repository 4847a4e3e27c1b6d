"""What a visitor sees while the server cannot be reached: a line on top, and everything else as it was.

Gradio would load the page anew as soon as the server answers, and with it what is written there would go. Here it does
not learn of the answer: the page offers to be loaded anew, and needs it only if it was cut off while something ran, or
if the server has been started anew and knows nothing of this visit.
"""

import gradio as gr

from storygen.ui.texts import fixed

SECONDS_BETWEEN_LOOKS, SECONDS_TO_ANSWER = 5, 15
"""How often the page looks whether the server is there, and how long that may take: a busy server is not lost."""

SCRIPT = f"""() => {{
  const address = window.gradio_config.root.replace(/\\/$/, '') + '/gradio_api/app_id', ask = window.fetch;
  let known = null, isCutOff = false, next = null, asking = null;
  const show = state => {{
    for (const name of ['lost', 'back']) {{
      document.getElementById('connection-' + name).classList.toggle('is-shown', name === state);
    }}
    document.querySelector('.gradio-container').classList.toggle('is-cut-off', isCutOff || state !== '');
  }};
  const look = async () => {{
    clearTimeout(next);
    asking?.abort();  // of two answers the older one could come last
    const own = asking = new AbortController(), late = setTimeout(() => own.abort(), {SECONDS_TO_ANSWER * 1000});
    try {{
      const answer = await ask(address, {{signal: own.signal}});
      if (!answer.ok) throw Error(answer.status);  // a proxy's word for a server that is gone
      const app = (await answer.json()).app_id;
      known ??= app;
      show(isCutOff || app !== known ? 'back' : '');
    }} catch {{
      if (own === asking) show('lost');
    }}
    clearTimeout(late);
    if (own !== asking) return;
    asking = null;
    next = setTimeout(look, {SECONDS_BETWEEN_LOOKS * 1000});
  }};
  window.fetch = (...given) => {{
    if (!String(given[0]).endsWith('/app_id')) return ask(...given);
    isCutOff = true;  // Gradio asks this only then, every two seconds until it gets an answer
    if (!asking) look();
    return Promise.reject(new TypeError('the page is not to be loaded anew by itself'));
  }};
  window.addEventListener('offline', look);
  window.addEventListener('online', look);
  look();
}}"""
"""Run once when the page is there."""

CSS = """
.block.connection { display: none; }  /* Gradio gives the class to what is inside the block, too */
.block.connection.is-shown { display: block; position: fixed; inset: 0 0 auto 0; z-index: 20; border-radius: 0; }
.block.connection.is-shown { padding: 0.6rem 1rem; text-align: center; border-bottom: 3px solid var(--color-accent); }
.block.connection.is-shown { background: var(--block-background-fill); color: var(--body-text-color); }
.gradio-container.is-cut-off .toast-wrap { display: none; }  /* Gradio's own message, which would stay */
.block.connection a { text-decoration: underline; }
"""


def build_connection() -> None:
    """Places the lines that the script shows when it is their time."""
    for name, key in (("lost", "lost"), ("back", "lost.back")):
        line = f'<p role="alert">{fixed(key)}</p>'
        gr.HTML(line, apply_default_css=False, elem_id=f"connection-{name}", elem_classes="connection")
