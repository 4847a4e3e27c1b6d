"""Text from users inside Markdown."""


def plain(text: str) -> str:
    """The text as Markdown that shows it unchanged: every mark is written as its character reference."""
    return "".join(c if c.isalnum() or c in " ,.'·" else f"&#{ord(c)};" for c in text)
