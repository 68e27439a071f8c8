"""Tables and word lists in `data/`, which can be edited without programming; each is read once."""

import functools
from dataclasses import dataclass
from pathlib import Path

from intone.server.text.tsv import read_rows, read_words

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Currency:
    """Names of a currency. `minor_one` is empty where it has no minor unit."""

    code: str
    one: str
    many: str
    minor_one: str
    minor_many: str
    chinese: str


@dataclass(frozen=True, slots=True)
class Unit:
    """Names of a unit of measure."""

    one: str
    many: str
    chinese: str


@functools.cache
def currencies() -> dict[str, Currency]:
    """By symbol and by ISO code."""
    columns = ("code", "symbols", "one", "many", "minor_one", "minor_many", "chinese")
    found = {}
    for _, (code, written, *names) in read_rows(_DATA / "currencies.tsv", columns, blank_cells=True):
        currency = Currency(code, *names)
        for symbol in (code, *written.split()):
            found[symbol] = currency
    return found


@functools.cache
def units() -> dict[str, Unit]:
    """By symbol, case-sensitive."""
    rows = read_rows(_DATA / "units.tsv", ("symbols", "one", "many", "chinese"))
    return {symbol: Unit(*names) for _, (written, *names) in rows for symbol in written.split()}


@functools.cache
def symbols() -> dict[str, tuple[str, str]]:
    """English and Chinese words for a symbol."""
    rows = read_rows(_DATA / "symbols.tsv", ("symbol", "english", "chinese"))
    return {symbol: (english, chinese) for _, (symbol, english, chinese) in rows}


@functools.cache
def latex() -> dict[str, str]:
    """English words for a LaTeX command."""
    rows = read_rows(_DATA / "latex.tsv", ("command", "english"), blank_cells=True)
    return {command: english for _, (command, english) in rows}


@functools.cache
def words(name: str) -> tuple[str, ...]:
    """The word list `data/{name}.txt`, in its order."""
    return read_words(_DATA / f"{name}.txt")
