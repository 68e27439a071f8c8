"""Names of voices: what they may consist of, and their canonical form."""

import unicodedata

from intone.server.errors import CallerError, Reason

MAX_NAME_CHARACTERS = 64
MAX_NAME_BYTES = 192
"""In UTF-8. File systems take names of 255 bytes, and a voice's file needs some for its suffixes."""

_RULE = "a voice's name is 1 to 64 letters and digits of any script, '-', '_' and '.', the first a letter or digit"
_PUNCTUATION = "-_."


def canonical_name(name: str) -> str:
    """The name in Unicode normalization form C, in which names are stored and compared."""
    return unicodedata.normalize("NFC", name)


def check_name(name: str, field: str = "name") -> str:
    """The canonical form of a voice's name.

    Raises:
        CallerError: the name is empty (VALUE_MISSING) or breaks the rule (VALUE_INVALID, with the character).
    """
    if not name:
        raise CallerError(field, f"is empty; {_RULE}", Reason.VALUE_MISSING)
    if len(name) <= MAX_NAME_CHARACTERS:
        name = canonical_name(name)  # of a few characters it makes more
    if len(name) > MAX_NAME_CHARACTERS:
        message = f"has {len(name)} characters; {_RULE}"
        raise CallerError(field, message, max_characters=MAX_NAME_CHARACTERS)
    for position, character in enumerate(name):
        if not _allowed(character, position == 0):
            raise CallerError(field, f"{_named(character)} at character {position} is not allowed; {_RULE}")
    if (size := len(name.encode())) > MAX_NAME_BYTES:
        message = f"has {size} bytes of UTF-8; a voice's name has at most {MAX_NAME_BYTES}"
        raise CallerError(field, message, max_bytes=MAX_NAME_BYTES)
    return name


def _allowed(character: str, first: bool) -> bool:
    category = unicodedata.category(character)
    if category.startswith("L") or category == "Nd":
        return True
    return not first and (character in _PUNCTUATION or category.startswith("M"))  # marks: vowels of Hindi, for example


def _named(character: str) -> str:
    name = unicodedata.name(character, "")
    return f"U+{ord(character):04X}{f' ({name.lower()})' if name else ''}"
