"""English words for numbers: cardinals, ordinals, years, decimals, digits one by one."""

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SCALES = ("", " thousand", " million", " billion", " trillion", " quadrillion")
_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_DENOMINATORS = {2: ("half", "halves"), 4: ("quarter", "quarters")}
MAX_CARDINAL_DIGITS = 18
"""Longer numbers are read digit by digit."""


def cardinal(number: int) -> str:
    """ "one thousand two hundred and thirty four"."""
    if number < 0:
        return "minus " + cardinal(-number)
    if len(str(number)) > MAX_CARDINAL_DIGITS:
        return digits(str(number))
    if number == 0:
        return "zero"
    parts, scale, rest = [], 0, number
    while rest:
        rest, group = divmod(rest, 1000)
        if group:
            words = _below_thousand(group)
            if scale == 0 and group < 100 and rest:
                words = "and " + words
            parts.append(words + _SCALES[scale])
        scale += 1
    return " ".join(reversed(parts))


def _below_thousand(number: int) -> str:
    hundreds, rest = divmod(number, 100)
    words = []
    if hundreds:
        words.append(f"{_ONES[hundreds]} hundred")
        if rest:
            words.append("and")
    if rest:
        words.append(_below_hundred(rest))
    return " ".join(words)


def _below_hundred(number: int) -> str:
    if number < 20:
        return _ONES[number]
    tens, ones = divmod(number, 10)
    return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")


def ordinal(number: int) -> str:
    """ "twenty first"."""
    head, _, last = cardinal(number).rpartition(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "h" if last.endswith("t") else "th"
    return f"{head} {last}".strip()


def digits(text: str, oh: bool = False) -> str:
    """The digits of `text` one by one; `oh` says "oh" for 0."""
    return " ".join(("oh" if oh and d == "0" else _ONES[int(d)]) for d in text if d.isdecimal())


def grouped_digits(groups: list[str]) -> str:
    """Digits one by one, with a comma between groups."""
    return ", ".join(digits(group) for group in groups)


def year(number: int) -> str:
    """ "nineteen oh five", "two thousand and one", "twenty twenty four"."""
    high, low = divmod(number, 100)
    if number < 1000 or 2000 <= number <= 2009 or number >= 10000:
        return cardinal(number)
    if low == 0:
        return cardinal(number) if high % 10 == 0 else f"{_below_hundred(high)} hundred"
    return f"{_below_hundred(high)} " + (f"oh {_ONES[low]}" if low < 10 else _below_hundred(low))


def pairs(text: str) -> str:
    """A number of three or four digits as house numbers and screens have it: "seven forty two", "sixteen hundred"."""
    high, low = int(text[:-2] or "0"), int(text[-2:])
    if not low:
        return cardinal(int(text)) if not high or high % 10 == 0 else f"{_below_hundred(high)} hundred"
    return f"{_below_hundred(high)} {'oh ' if low < 10 else ''}{_below_hundred(low)}"


def decade(number: int) -> str:
    """ "twenty tens", "eighteen hundreds", "nineteen nineties"."""
    high, low = divmod(number, 100)
    if low == 0:
        return "two thousands" if number == 2000 else f"{year(number)}s"
    return (f"{_below_hundred(high)} " if high else "") + plural(_TENS[low // 10] if low != 10 else "ten")


def plural(word: str) -> str:
    """The plural of a number word."""
    return word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith("x") else "s")


def decimal(text: str) -> str:
    """A number as it is written: "1,234.50", "-3.14", ".5"."""
    text = text.replace(",", "").replace("\u2212", "-").replace(" ", "")
    sign, text = ("minus ", text[1:]) if text[:1] == "-" else ("", text)
    whole, _, fraction = text.partition(".")
    words = []
    if whole:
        words.append(cardinal(int(whole)) if len(whole) <= MAX_CARDINAL_DIGITS else digits(whole))
    if fraction:
        words.append(f"point {digits(fraction, oh=bool(whole.strip('0')))}")
    return sign + " ".join(words)


def fraction(numerator: int, denominator: int) -> str:
    """ "three quarters", "one half", "two thirds"."""
    one, many = _DENOMINATORS.get(denominator, (ordinal(denominator), ordinal(denominator) + "s"))
    return f"{cardinal(numerator)} {one if numerator == 1 else many}"
