"""Text as it can be looked at: nothing in it moves a cursor or turns what follows around.

Names, keys and notes come from files that others made. What is hidden in them is spelt out:
`\\x1b`, `\\u202e`. Letters of all languages stay.
"""

from __future__ import annotations

import re
from typing import Any

# Control characters, separators of lines, and marks of writing direction.
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
LAYOUT = "\n\t"  # what a page of text is laid out with


def visible(text: str, kept: str = "") -> str:
    """The text in one line, with an escape for each character of HIDDEN that is not in `kept`.

    >>> visible("a\\x1b[31m\\u202eb")
    'a\\\\x1b[31m\\\\u202eb'
    """
    return HIDDEN.sub(lambda one: one[0] if one[0] in kept else ascii(one[0])[1:-1], text)


def all_visible(value: Any) -> Any:
    """JSON-ready facts with every text in them visible, laid out as it was."""
    if isinstance(value, str):
        return visible(value, LAYOUT)
    if isinstance(value, dict):
        return {all_visible(key): all_visible(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [all_visible(each) for each in value]
    return value
