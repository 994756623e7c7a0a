"""Texts of others, such as the name of a table, on a person's terminal."""


def printable(text: str) -> str:
    """Return the text without control characters, which could rule the terminal."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
