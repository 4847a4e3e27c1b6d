"""ZeroGPU Spaces, where a GPU is lent for seconds to a function that is decorated, in a forked process.

The models stay on the Space's CPU, in the same engine as anywhere. They are small enough to be read along there, and a
fork lacks the engine's thread, by which many readers share a model. A lent GPU would be one reader's, after a wait for
it, and at the cost of that reader's daily quota. But `spaces` reports the app's start only if some function is
decorated (its source, 0.51): so one is, which nobody calls.
"""


def register() -> None:
    """Lets ZeroGPU know that the app has started; nothing happens where the package `spaces` is not installed."""
    try:
        import spaces
    except ImportError:
        return
    spaces.GPU(_uncalled)


def _uncalled() -> None:
    """What could run on a lent GPU."""
