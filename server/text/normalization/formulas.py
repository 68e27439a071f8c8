"""Simple LaTeX formulas to English words: fractions, powers, roots, relations, Greek letters."""

import re

from intone.server.text.normalization.tables import latex

_COMMANDS = latex()
_SYMBOLS = {
    "=": "equals", "+": "plus", "-": "minus", "−": "minus", "<": "is less than", ">": "is greater than", "/": "over",
    "*": "times", "≤": "is less than or equal to", "≥": "is greater than or equal to", "≠": "is not equal to",
    "×": "times", "·": "times", "±": "plus or minus", "%": "percent",
}  # fmt: skip
_WORDS = frozenset(word for phrase in _COMMANDS.values() for word in phrase.split()) | frozenset(
    (
        "of",
        "sub",
        "the",
        "as",
        "sum",
        "from",
        "root",
        "cube",
        "to",
        "is",
        "or",
        "over",
        "power",
        "squared",
        "cubed",
        "square",
    )
)
_FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]{1,80})\}\s*\{([^{}]{1,80})\}")
_ROOT = re.compile(r"\\sqrt\s*(?:\[(\d)\])?\s*\{([^{}]{1,80})\}")
_LIMIT = re.compile(r"\\lim\s*_\s*\{([^{}]{1,40})\}")
_BOUNDS = re.compile(r"\\(sum|int|prod)\s*_\s*(?:\{([^{}]{1,40})\}|(\w))\s*\^\s*(?:\{([^{}]{1,40})\}|(\w))")
_BOUNDED = {"sum": "sum", "int": "integral", "prod": "product"}
_POWER = re.compile(r"\^\s*(?:\{([^{}]{1,40})\}|(\w))")
_INDEX = re.compile(r"_\s*(?:\{([^{}]{1,40})\}|(\w))")
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_FUNCTION = re.compile(r"\b([fgh])\(([a-z])\)")
_POWERS = {"2": "squared", "3": "cubed", "T": "transposed"}
_ROOTS = {None: "the square root of", "2": "the square root of", "3": "the cube root of"}


def read_formula(text: str) -> str:
    """The words for a formula without its dollar signs; numbers stay digits."""
    for _ in range(3):
        text = _FRACTION.sub(r" \1 over \2 ", text)
        text = _ROOT.sub(lambda found: f" {_ROOTS.get(found[1], 'the root of')} {found[2]} ", text)
    text = _LIMIT.sub(r" the limit as \1 of ", text)
    text = _BOUNDS.sub(
        lambda found: f" the {_BOUNDED[found[1]]} from {found[2] or found[3]} to {found[4] or found[5]} of ", text
    )
    text = _FUNCTION.sub(r"\1 of \2", text)
    text = _POWER.sub(lambda found: f" {_power(found[1] or found[2])} ", text)
    text = _INDEX.sub(lambda found: f" sub {found[1] or found[2]} ", text)
    text = _COMMAND.sub(lambda found: f" {_COMMANDS.get(found[1], _COMMANDS.get(found[1].lower(), ''))} ", text)
    words = []
    for token in re.findall(r"[A-Za-z]+|\d+(?:[.,]\d+)*|\S", text):
        if token in _SYMBOLS:
            words.append("minus" if token == "-" else _SYMBOLS[token])
        elif token.isalpha() and token.isascii() and len(token) <= 3 and token not in _WORDS:
            words.append(" ".join(token))
        elif token.isalnum() or token[0].isdigit() or token in ",;:.":
            words.append(token)
    return " " + " ".join(words).replace(" ,", ",") + " "


def _power(exponent: str) -> str:
    return _POWERS.get(exponent, f"to the power of {exponent}")
