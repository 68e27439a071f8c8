"""Tables and word lists in `data/`, which can be edited without programming; each is read once."""

import csv
import functools
from dataclasses import dataclass
from importlib import resources


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


def _lines(name: str) -> list[str]:
    content = (resources.files("intone.server.text.normalization") / "data" / name).read_text("utf8")
    return [line for line in content.splitlines() if line and not line.startswith("#")]


def _rows(name: str) -> list[dict[str, str]]:
    rows = list(csv.DictReader(_lines(name), delimiter="\t", quoting=csv.QUOTE_NONE))
    for row in rows:
        if None in row or None in row.values():
            raise ValueError(f"{name}: a row has another number of columns than the header: {row}")
    return rows


@functools.cache
def currencies() -> dict[str, Currency]:
    """By symbol and by ISO code."""
    found = {}
    for row in _rows("currencies.tsv"):
        currency = Currency(*(row[key] for key in ("code", "one", "many", "minor_one", "minor_many", "chinese")))
        for symbol in (row["code"], *row["symbols"].split()):
            found[symbol] = currency
    return found


@functools.cache
def units() -> dict[str, Unit]:
    """By symbol, case-sensitive."""
    return {
        symbol: Unit(row["one"], row["many"], row["chinese"])
        for row in _rows("units.tsv")
        for symbol in row["symbols"].split()
    }


@functools.cache
def symbols() -> dict[str, tuple[str, str]]:
    """English and Chinese words for a symbol."""
    return {row["symbol"]: (row["english"], row["chinese"]) for row in _rows("symbols.tsv")}


@functools.cache
def latex() -> dict[str, str]:
    """English words for a LaTeX command."""
    return {row["command"]: row["english"] for row in _rows("latex.tsv")}


@functools.cache
def words(name: str) -> tuple[str, ...]:
    """The word list `data/{name}.txt`, in its order."""
    return tuple(_lines(f"{name}.txt"))
