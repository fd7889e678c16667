"""Names and codes that somebody else chose: one rule at every door.

A model's name, a response's id, a status, an error code, or a reason that has one of them in it,
comes from a server, a request or a file, and goes to terminals, tables, spans, metrics, CSV and
ledgers. ``text_of`` makes it a text that none of these can be harmed by: a plain ``str``, of
bounded length, on one line.
"""

from __future__ import annotations

from enum import Enum

MAX_CHARACTERS = 256
"""Characters kept of a name [1]. A longer one keeps its beginning and a digest of the whole, so
that two names never become one: ids of gateways are long and differ at their end."""

MAX_SENTENCE = 512
"""Characters kept of a sentence [1], such as a reason, which may have a name in it."""

DIGEST_BYTES = 8

UNIQUE_ID_LENGTH = 20
"""A response's id of this length or more [characters] is taken to be of that one alone.

Ollama draws its ids from 999: https://github.com/ollama/ollama/pull/15089
"""

REPLACEMENT = "?"
"""What stands for a character that cannot be printed: control characters, line ends, marks that
turn the direction of writing, and lone surrogates, which no encoding takes."""


def text_of(value: object, longest: int = MAX_CHARACTERS) -> str | None:
    """The value as a text that is safe to show and to store; None where it is none, or empty.

    A text of a subclass, as the members of ``class Model(str, Enum)`` are, becomes a plain one.

    Args:
        value: The value.
        longest: Characters that are kept [1].
    """
    if type(value) is str and len(value) <= longest and value.isprintable():
        return value.strip() or None  # nearly always
    if value is None:
        return None
    if isinstance(value, Enum) and not isinstance(value, str):
        value = value.value
    if not isinstance(value, str):
        return None
    # Not `str(value)`, which a subclass may have changed.
    text = str.__str__(value).strip()
    if len(text) > longest:
        text = _clip_text(text, longest)
    if not text.isprintable():
        text = "".join(each if each.isprintable() else REPLACEMENT for each in text)
    return text or None


def is_unique_id(response_id: str | None) -> bool:
    """Whether a server's id is of one response alone."""
    return response_id is not None and len(response_id) >= UNIQUE_ID_LENGTH


def _clip_text(text: str, longest: int) -> str:
    from hashlib import blake2b  # rarely needed, and not light

    whole = text.encode("utf-8", "surrogatepass")
    digest = blake2b(whole, digest_size=DIGEST_BYTES).hexdigest()
    return f"{text[: longest - len(digest) - 3]}...{digest}"
