"""Keyboard shortcuts of the Compare tab: a key presses the button, if it can be pressed and nobody is typing."""

KEYS = {
    "1": "verdict-left",
    "2": "verdict-tie",
    "3": "verdict-right",
    "4": "verdict-both_bad",
    "s": "verdict-skip",
    "n": "round",
    "u": "undo",
}
"""Key, and the id of its button."""

SCRIPT = f"""() => {{
  const keys = {KEYS};
  document.addEventListener('keydown', event => {{
    const at = event.target;
    const typing = at.isContentEditable || at.tagName === 'TEXTAREA' || at.tagName === 'SELECT'
      || (at.tagName === 'INPUT' && !['checkbox', 'button'].includes(at.type));
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const button = document.getElementById(keys[event.key.toLowerCase()]);
    if (button && button.offsetParent && !button.disabled) {{ event.preventDefault(); button.click(); }}
  }});
}}"""
"""Run once when the page is there."""
