"""Guesses whether a text is in a language other than English and Chinese, by script or by its commonest words.

For a notice that it will be mispronounced, so a guess is made only where it is nearly certain: an English sentence with
foreign names or phrases in it stays English.
"""

import re
from typing import NamedTuple


class Foreign(NamedTuple):
    """A language other than English and Chinese.

    Attributes:
        code: BCP 47.
        name: in English.
        latin: whether it is written in Latin letters, so that an English voice reads it, as if it were English.
    """

    code: str
    name: str
    latin: bool


MIN_WORDS = 4
"""A shorter text in Latin letters is not judged."""

MIN_SHARE = 0.35
"""Share of the words that must be among the commonest of a language."""

MIN_LETTERS = 4
"""A shorter text is not judged by its script: a Greek letter may be a symbol."""

MIN_SCRIPT_SHARE = 0.5
"""Share of the letters that must be of a script."""

_SCRIPTS = {
    Foreign("ja", "Japanese", False): "\u3040-\u30ff",
    Foreign("ko", "Korean", False): "\u1100-\u11ff\u3130-\u318f\uac00-\ud7af",
    Foreign("ru", "Russian or another language in Cyrillic", False): "\u0400-\u052f",
    Foreign("el", "Greek", False): "\u0370-\u03ff\u1f00-\u1fff",
    Foreign("he", "Hebrew", False): "\u0590-\u05ff",
    Foreign("ar", "Arabic", False): "\u0600-\u06ff",
    Foreign("hi", "Hindi or another language in Devanagari", False): "\u0900-\u097f",
    Foreign("th", "Thai", False): "\u0e00-\u0e7f",
}
_KANA_SHARE = 0.2
"""Japanese is written with ideographs, too."""

_ENGLISH = """
the a an and or of to in is are was were be been i you he she it we they my your his her its our their that this
these those not no do does did have has had with for on at from by as but if so what who when where how will would
can could should there here me him them us just about out up
"""
# The commonest words of each language that are not English words.
_COMMON = {
    Foreign("fr", "French", True): """
je tu il elle nous vous ils elles le la les un une des du de et est sont ne pas que qui dans sur avec pour mais mon
ma mes votre qu au aux ce cette très bonjour merci suis avez être à
""",
    Foreign("de", "German", True): """
ich du er sie es wir ihr der das den dem ein eine einen einem und ist sind nicht mit für auf zu aber auch wie wo von
im bei mein meine ihre wird habe haben guten sehr bitte danke zum zur nach uns kann leider
""",
    Foreign("es", "Spanish", True): """
yo tú él ella nosotros el la los las un una es son no que de en con por para pero mi su sus muy está estoy hola
gracias como cómo qué del al se lo me te más buenos
""",
    Foreign("it", "Italian", True): """
io tu mi lui lei noi voi il lo la gli le un una è sono non che di in con per ma mio mia molto questo questa ciao
grazie come del della al alla si ti ho hai anche più buongiorno
""",
    Foreign("pt", "Portuguese", True): """
eu tu ele ela nós os as um uma é são não que de em com por para mas meu minha muito está estou olá obrigado obrigada
como do da ao se você mais bom
""",
    Foreign("nl", "Dutch", True): """
ik jij je hij zij wij het de een en is zijn niet dat die van op met voor maar ook mijn heel goed dank hoe wat waar
naar bij heb hebben wordt aan
""",
}
_ENGLISH_WORDS = frozenset(_ENGLISH.split())
_LISTS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_WORD = re.compile(r"[^\W\d_]+")
_LETTER = re.compile(r"[^\W\d_]")
_OF_SCRIPT = {language: re.compile(f"[{ranges}]") for language, ranges in _SCRIPTS.items()}


def foreign_language(text: str) -> Foreign | None:
    """The language of `text` if it is surely neither English nor Chinese, else None."""
    return _by_script(text) or _by_words(text)


def _by_script(text: str) -> Foreign | None:
    if text.isascii():
        return None
    letters = len(_LETTER.findall(text))
    if letters < MIN_LETTERS:
        return None
    for language, script in _OF_SCRIPT.items():
        share = _KANA_SHARE if language.code == "ja" else MIN_SCRIPT_SHARE
        if len(script.findall(text)) >= share * letters:
            return language
    return None


def _by_words(text: str) -> Foreign | None:
    words = [word for word in _WORD.findall(text.lower()) if len(word) > 1 or not word.isascii()]  # no initials
    if len(words) < MIN_WORDS:
        return None
    english = sum(word in _ENGLISH_WORDS for word in words)
    counts = {language: sum(word in common for word in words) for language, common in _LISTS.items()}
    best = max(counts, key=lambda language: counts[language])
    distinct = len(_LISTS[best] & set(words))
    if distinct < 2 or counts[best] < MIN_SHARE * len(words) or counts[best] <= 2 * english:
        return None
    return best
