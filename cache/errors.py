"""The one exception a user is meant to see."""


class InputError(Exception):
    """The request or its input is wrong.

    The message is one line: what failed, what was found, what to do next. The command line prints
    it and exits 2; anything else that escapes is a fault of ours and exits 1.
    """


def one_of(what: str, found: object, choices: object) -> InputError:
    """An InputError for a name that is not among the known ones, with the nearest as a hint."""
    import difflib

    names = [str(choice) for choice in choices]  # type: ignore[attr-defined]
    near = difflib.get_close_matches(str(found), names, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(names) or 'nothing'}"
    return InputError(f"unknown {what} {str(found)!r}: {hint}")
