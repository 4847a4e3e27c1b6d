import sys
import types

from storygen import zerogpu


def test_a_function_is_shown_to_zerogpu(monkeypatch):
    """Without one, `spaces` does not report that the app has started."""
    shown = []
    monkeypatch.setitem(sys.modules, "spaces", types.SimpleNamespace(GPU=shown.append))
    zerogpu.register()
    assert len(shown) == 1 and callable(shown[0])


def test_elsewhere_nothing_happens(monkeypatch):
    """The package is on Spaces only; the app must start without it."""
    monkeypatch.setitem(sys.modules, "spaces", None)
    zerogpu.register()
