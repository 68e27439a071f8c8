"""Mandarin words for numbers: cardinals, decimals, digits one by one."""

DIGITS = "零一二三四五六七八九"
_TELEPHONE = "零幺二三四五六七八九"
_UNITS = ("", "十", "百", "千")
_SCALES = ("", "万", "亿", "万亿")
MAX_CARDINAL_DIGITS = 16


def cardinal(number: int, liang: bool = False) -> str:
    """ "一千二百三十四"; `liang` says 两 for a 2 that counts things."""
    if number < 0:
        return "负" + cardinal(-number, liang)
    if len(str(number)) > MAX_CARDINAL_DIGITS:
        return digits(str(number))
    if number == 0:
        return "零"
    if number == 2 and liang:
        return "两"
    groups = []
    while number:
        number, group = divmod(number, 10000)
        groups.append(group)
    words, gap = "", False
    for scale in range(len(groups) - 1, -1, -1):
        group = groups[scale]
        if group == 0:
            gap = bool(words)
            continue
        if words and (gap or group < 1000):
            words += "零"
        words += ("两" if group == 2 and scale else _below_myriad(group, leading=not words)) + _SCALES[scale]
        gap = False
    return words


def _below_myriad(number: int, leading: bool) -> str:
    words, gap = "", False
    for place in range(3, -1, -1):
        digit = number // 10**place % 10
        if digit == 0:
            gap = bool(words)
            continue
        if gap:
            words += "零"
            gap = False
        name = "两" if digit == 2 and place == 3 else DIGITS[digit]
        if place == 1 and digit == 1 and not words and leading:
            name = ""
        words += name + _UNITS[place]
    return words


def digits(text: str, telephone: bool = False) -> str:
    """Digits one by one; telephone numbers say 幺 for 1."""
    names = _TELEPHONE if telephone else DIGITS
    return "".join(names[int(d)] for d in text if d.isdecimal())


def decimal(text: str, liang: bool = False) -> str:
    """A number as it is written: "1,234.50", "-3.14"."""
    text = text.replace(",", "").replace("，", "").replace("\u2212", "-").replace(" ", "")
    sign, text = ("负", text[1:]) if text[:1] == "-" else ("", text)
    whole, point, fraction = text.partition(".")
    long = len(whole) > MAX_CARDINAL_DIGITS
    words = digits(whole) if long else cardinal(int(whole or "0"), liang and not fraction)
    return sign + words + (f"点{digits(fraction)}" if point and fraction else "")


def year(text: str) -> str:
    """Digits of a year one by one."""
    return digits(text)
