"""Abbreviations and titles: `Dr. Lee`, `Elm Dr.`, `e.g.`, `approx.`."""

import re

from intone.server.text.normalization.context import Context, Rule, Verbalize
from intone.server.text.patterns import ascii_pattern

_STREET = r"(?<=[a-z] )"
_ABBREVIATIONS = (
    (ascii_pattern(r"\bMr\.(?=[ ])"), "Mister"),
    (ascii_pattern(r"\bMrs\.(?=[ ])"), "Missus"),
    (ascii_pattern(r"\bMs\.(?=[ ])"), "Miz"),
    (ascii_pattern(rf"{_STREET}\bDr\b(?!\.?[ ][A-Z])\.?(?=[ ]?[,.;!?]|[ ]?$|[ ][a-z])"), "Drive"),
    (ascii_pattern(r"\bDr\.?(?=[ ][A-Z])"), "Doctor"),
    (ascii_pattern(r"\bProf\.(?=[ ])"), "Professor"),
    (ascii_pattern(rf"{_STREET}\bSt\b(?:\.(?=[ ]?[,;!?]|[ ][a-z])|(?=[ ]?[,;!?.]|[ ]?$|[ ][a-z]))"), "Street"),
    (ascii_pattern(r"\bSt\.(?=[ ][A-Z])"), "Saint"),
    (ascii_pattern(r"(?<=[A-Za-z] )\bAve\b\.?"), "Avenue"),
    (ascii_pattern(r"(?<=[A-Za-z] )\bBlvd\b\.?"), "Boulevard"),
    (ascii_pattern(r"(?<=[a-z] )\bRd\b\.?"), "Road"),
    (ascii_pattern(r"(?<=[a-z] )\bLn\b\.?"), "Lane"),
    (ascii_pattern(r"(?<=[a-z] )\bHwy\b\.?|\bHwy\b\.?(?=[ ]\d)"), "Highway"),
    (ascii_pattern(r"\bApt\b\.?(?=[ ]?[#\dA-Z])"), "Apartment"),
    (ascii_pattern(r"\b[Ee]xt\.(?=[ ]?\d)"), "extension"),
    (ascii_pattern(r"(?<=[a-z,] )Jr\."), "Junior"),
    (ascii_pattern(r"(?<=[a-z,] )Sr\."), "Senior"),
    (ascii_pattern(r"\bvs\.?(?=[ ])"), "versus"),
    (ascii_pattern(r"\be\.g\.,?(?=[ ])"), "for example,"),
    (ascii_pattern(r"\bi\.e\.,?(?=[ ])"), "that is,"),
    (ascii_pattern(r"\betc\.(?=[ ]?[,;)]|[ ][a-z])"), "et cetera"),
    (ascii_pattern(r"\betc\.(?=$|[ ][A-Z])"), "et cetera."),
    (ascii_pattern(r"\bapprox\.(?=[ ])"), "approximately"),
    (ascii_pattern(r"\b[Dd]ept\.(?=[ ])"), "department"),
    (ascii_pattern(r"\b[Vv]ol\.(?=[ ]?[\dIVX])"), "volume"),
    (ascii_pattern(r"\bpp\.(?=[ ]?\d)"), "pages"),
    (ascii_pattern(r"\bp\.(?=[ ]?\d)"), "page"),
    (ascii_pattern(r"\b[Ff]ig\.(?=[ ]?\d)"), "figure"),
    (ascii_pattern(r"\b[Ss]ec\.(?=[ ]?\d)"), "section"),
    (ascii_pattern(r"\b[Ee]q\.(?=[ ]?\d)"), "equation"),
    (ascii_pattern(r"\b[Cc]h\.(?=[ ]?\d)"), "chapter"),
    (ascii_pattern(r"\bInc\.(?=[ ][a-z]|,)"), "Incorporated"),
    (ascii_pattern(r"\bLtd\.(?=[ ][a-z]|,)"), "Limited"),
    (ascii_pattern(r"\bCorp\.(?=[ ][a-z]|,)"), "Corporation"),
    (ascii_pattern(r"\b[Gg]ov\.(?=[ ][A-Z])"), "Governor"),
    (ascii_pattern(r"\bSen\.(?=[ ][A-Z])"), "Senator"),
    (ascii_pattern(r"\bGen\.(?=[ ][A-Z])"), "General"),
    (ascii_pattern(r"\bCapt\.(?=[ ][A-Z])"), "Captain"),
    (ascii_pattern(r"\bSgt\.(?=[ ][A-Z])"), "Sergeant"),
    (ascii_pattern(r"\bLt\.(?=[ ][A-Z])"), "Lieutenant"),
    (ascii_pattern(r"\bMt\.(?=[ ][A-Z])"), "Mount"),
    (ascii_pattern(r"\bFt\.(?=[ ][A-Z])"), "Fort"),
    (ascii_pattern(r"\bw/o(?=[ ])"), "without"),
    (ascii_pattern(r"\bw/(?=[ ])"), "with"),
    (ascii_pattern(r"\bUSA\b|\bU\.S\.A\.(?=[ ,])"), "U S A"),
)


def _constant(words: str) -> Verbalize:
    def read(context: Context, match: re.Match[str]) -> str:
        return words

    return read


RULES = tuple(Rule("abbreviation", pattern, _constant(words)) for pattern, words in _ABBREVIATIONS)
