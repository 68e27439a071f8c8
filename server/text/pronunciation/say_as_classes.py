"""Values of `interpret-as`, the attribute of SSML's `say-as`.

The names are those of the W3C note "SSML 1.0 say-as attribute values" and of the cloud voices.
"""

_ALIASES = {
    "spell-out": "characters", "verbatim": "characters", "letters": "characters", "spell": "characters",
    "digit": "digits", "number_digit": "digits", "phone": "telephone", "number": "cardinal",
    "vxml:digits": "digits", "vxml:phone": "telephone", "vxml:number": "cardinal", "vxml:currency": "currency",
    "vxml:date": "date", "vxml:time": "time", "measure": "unit",
}  # fmt: skip
_CLASSES = frozenset(
    "characters digits telephone cardinal ordinal fraction date time currency unit address".split()  # noqa: SIM905
)


def say_as_class(name: str) -> str | None:
    """The class that a value of `interpret-as` means; None for an unknown one."""
    plain = _ALIASES.get(name.strip().lower(), name.strip().lower())
    return plain if plain in _CLASSES else None
