"""What a screen reader is told while a story streams: the status lines only, never each token."""

STATUS = ("status", "compare-status", "stars-status")
"""Ids of the lines that are read out when they change."""

SCRIPT = f"""() => {{
  const said = {{}}, live = document.createElement('div');
  live.setAttribute('role', 'status');
  live.className = 'read-out';
  document.body.append(live);
  new MutationObserver(() => {{
    for (const id of {list(STATUS)}) {{
      const line = document.querySelector('#' + id + ' p');
      const text = line ? line.textContent.trim() : '';
      if (text && text !== said[id]) live.textContent = text;
      said[id] = text;
    }}
  }}).observe(document.body, {{subtree: true, childList: true, characterData: true}});
}}"""
"""Run once when the page is there."""

CSS = """
.read-out { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
"""
