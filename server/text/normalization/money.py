"""Amounts of money: `$3.50`, `£1.20 fare`, `NT$500`, `$5-10`, `€2 million`, `20 USD`."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.normalization.tables import Currency, currencies
from intone.server.text.patterns import (
    CHINESE_SCALES,
    DASH,
    DIGIT,
    NUMBER,
    NUMBER_START,
    SCALES,
    SIGN,
    alternatives,
    ascii_pattern,
)

_SYMBOL = alternatives(symbol for symbol in currencies() if not symbol.isalpha())
_CODE = alternatives(symbol for symbol in currencies() if symbol.isalpha() and symbol.isupper() and len(symbol) == 3)
_SCALE = (
    r"(?:[ ]?(?P<scale>thousand|million|billion|trillion|[kKmM](?![A-Za-z\d]"
    r"|/(?!(?:yr|year|mo|month|wk|week|day|hr|hour)\b))|bn|mn|tn|[BT](?![A-Za-z])"
    r"|[万亿千百]{1,2}))?"
)
_DECIMAL_COMMA = r"\d{1,3}(?:\.\d{3}){0,4},\d\d(?![\d,])"
_PREFIXED = ascii_pattern(
    rf"(?<![A-Za-z])(?P<sign>{SIGN})?(?P<symbol>{_SYMBOL}|(?:{_CODE}|Rp"
    rf"|RM|Rs\.?)(?=[ ]?\d))[ ]?(?P<inner>[-\u2212])?(?P<number>{_DECIMAL_COMMA}|{NUMBER}|\.\d{{1,2}})"
    rf"(?:(?P<own>[kKmM]|bn|B|T|[ ]million|[ ]billion)?{DASH}(?P=symbol)?(?P<to>{NUMBER})(?![:\d]))?{_SCALE}(?![\d])"
    rf"(?P<again>[ ]?(?:{_CODE})(?![A-Za-z]))?"
)
_PREFIX_START = re.compile(rf"[-+±\u2212]|{_SYMBOL}|(?<![A-Za-z])R(?=[sMp])|(?<![A-Za-z])[A-Z]{{3}}(?=[ ]?[0-9])")
_SUFFIXED = ascii_pattern(
    rf"(?<![\w.,$€£])(?P<sign>{SIGN})?(?P<number>{_DECIMAL_COMMA}|{NUMBER})(?:{DASH}(?P<to>{NUMBER}))?{_SCALE}[ ]?"
    rf"(?P<symbol>[$€£₽₫₴฿円₿]|zł|Kč|{_CODE})(?![A-Za-z])"
)
_CENTS = ascii_pattern(rf"(?<![\w.])(?P<number>{NUMBER})[ ]?(?P<symbol>[¢￠])")
_JAPANESE = re.compile(r"\b(?:Japan|Japanese|Tokyo|Osaka|Kyoto|yen|JPY)\b")
_DETERMINER = ascii_pattern(
    r"\b(?:a|an|the|this|that|one|each|every|another|my|your|his|her|our|their|any|no|first"
    r"|second)[ ]$",
    re.IGNORECASE,
)
_COUNT = ascii_pattern(
    r"(?:\b(?:two|three|four|five|six|ten|several|some|few|many|extra|with|in)|\d)[ ]$", re.IGNORECASE
)
_COUNTED = ascii_pattern(
    r"[ -](?:bills?|notes?|coins?|tickets?|vouchers?|coupons?|gift|payments?|chips|stamps|meals|shirts|bets?"
    r"|checks?|cheques?|donations?|prizes?|fees?|fines?|tips?|pieces?)\b"
)
_NOUN_AFTER = ascii_pattern(
    r"[ -](?!(?:in|of|for|to|per|a|an|each|or|and|is|was|were|are|more|less|on|at|by|from|with|off|back"
    r"|than|as|if|but|it|you|he|she|we|they|i|the|this|that|when|because|now|today|extra|tomorrow|yesterday"
    r"|so|too|will|would|can|could|has|had|please|worth|plus|minus|through|until|after|before|not|into|over"
    r"|under)\b)[A-Za-z][a-z]{2,}"
)


def _read(context: Context, match: re.Match[str]) -> str | None:
    found = match.groupdict()
    chinese = context.chinese(*match.span())
    yen = match["symbol"] in "¥￥" and not chinese and _JAPANESE.search(context.text)
    currency = currencies()["JPY" if yen else match["symbol"].rstrip(".")]
    number = match["number"]
    if match["symbol"] == "PHP" and re.fullmatch(r"\d(?:\.\d{1,2})?", number):
        return None  # the programming language
    if re.fullmatch(_DECIMAL_COMMA, number):
        number = number.replace(".", "").replace(",", ".")
    negative = bool(found.get("sign") in ("-", "\u2212") or found.get("inner"))
    scale = found.get("scale") or ""
    if chinese or re.search("[万亿千百]", scale):
        return _chinese(currency, number, found.get("to"), scale, negative)
    sign = "minus " if negative else ("plus " if found.get("sign") == "+" else "")
    single = _is_adjective(context, match)
    own, again = (found.get("own") or "").strip(), (found.get("again") or "").strip()
    if own and own != scale:
        first = f"{en.decimal(number)} {SCALES[own]}"
        return f"{sign}{first} to {_english(currency, match['to'], None, SCALES.get(scale, ''), single)}"
    words = sign + _english(currency, number, found.get("to"), SCALES.get(scale, ""), single)
    return words if not again or again == currency.code else f"{words} {currencies()[again].many}"


def _is_adjective(context: Context, match: re.Match[str]) -> bool:
    """Whether the amount stands before a noun that it describes: "a $5 bill"."""
    before, after = context.before(match.start()), context.after(match.end())
    if _COUNT.search(before) and _COUNTED.match(after):
        return True
    return bool(_DETERMINER.search(before) and _NOUN_AFTER.match(after))


def _english(currency: Currency, number: str, to: str | None, scale: str, single: bool) -> str:
    if to or scale:
        amount = en.decimal(number) + (f" to {en.decimal(to)}" if to else "")
        return f"{amount} {scale} {currency.one if single else currency.many}".replace("  ", " ")
    whole, _, fraction = number.replace(",", "").partition(".")
    major, minor = int(whole or "0"), 0
    if fraction:
        if len(fraction) > 2 or not currency.minor_one:
            return f"{en.decimal(number)} {currency.many}"
        minor = int(fraction.ljust(2, "0"))
    major_words = f"{en.cardinal(major)} {currency.one if single or major == 1 else currency.many}"
    if not minor:
        return major_words
    if single and major:
        return f"{major_words} {en.cardinal(minor)}"
    minor_words = f"{en.cardinal(minor)} {currency.minor_one if single or minor == 1 else currency.minor_many}"
    return f"{major_words} and {minor_words}" if major else minor_words


def _chinese(currency: Currency, number: str, to: str | None, scale: str, negative: bool) -> str:
    def amount(text: str) -> str:
        return zh.decimal(text.rstrip("0").rstrip(".") if "." in text else text, liang=True)

    scale = CHINESE_SCALES.get(SCALES.get(scale, ""), scale if re.fullmatch("[万亿千百]*", scale) else "")
    words = amount(number) + (f"到{amount(to)}" if to else "")
    return ("负" if negative else "") + words + scale + currency.chinese


def _cents(context: Context, match: re.Match[str]) -> str:
    if context.chinese(*match.span()):
        return zh.decimal(match["number"]) + "美分"
    single = match["number"] == "1" or _is_adjective(context, match)
    return f"{en.decimal(match['number'])} {'cent' if single else 'cents'}"


RULES = (
    Rule("money", _PREFIXED, _read, _PREFIX_START),
    Rule("money", _SUFFIXED, _read, NUMBER_START),
    Rule("money", _CENTS, _cents, DIGIT, "¢￠"),
)
