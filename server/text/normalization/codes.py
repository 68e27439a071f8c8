"""Numbers that are read digit by digit: telephone numbers, codes, card numbers, identifiers, keypad commands."""

import re

from intone.server.text.normalization import numbers_en as en
from intone.server.text.normalization import numbers_zh as zh
from intone.server.text.normalization.context import Context, Rule
from intone.server.text.patterns import DIGIT, NUMBER_START, SIGN_START, alternatives, ascii_pattern

LONG_DIGITS = 10
"""An unpunctuated number with so many digits is an identifier, unless it is a round one."""

_ALONE_BEFORE = r"(?<![A-Za-z0-9.,/$€£¥￥+-])(?<!\d:)"
_ALONE_AFTER = r"(?![A-Za-z0-9%°]|[.,:/-]\d|-[A-Z])"
_TELEPHONE = ascii_pattern(
    rf"""(?:tel:)?{_ALONE_BEFORE}(?:
      \+\d(?:[ .-]?\(?\d\)?){{7,14}}
    | (?:1[ -])?\([02-9]\d{{2,4}}\)[ ]?\d{{3,4}}[ .-]\d{{4}}
    | (?:1([ .-]))?[2-9]\d\d([ .-])\d{{3}}\2\d{{4}}
    | [2-9]\d\d-\d{{4}}
    | 0\d{{2,4}}(?:[ -]\d{{3,8}}){{1,2}}
    | \(0\d{{2,3}}\)[ -]?\d{{3,4}}[ -]?\d{{4}}
    | 1[3-9]\d(?:[ -]\d{{4}}){{2}}
    | 0\d(?:[ .]\d\d){{4}}
    | \d{{{LONG_DIGITS},19}}
    ){_ALONE_AFTER}|tel:\+?\d{{5,15}}""",
    re.VERBOSE,
)
_TELEPHONE_START = re.compile(r"[0-9]+|[+(]|tel:")
_FLIGHT = ascii_pattern(
    r"(?:(?<=flight )|(?<=flights )|(?<=航班))(?P<airline>[A-Z]{2}|[A-Z]\d|\d[A-Z])[ ]?(?P<number>\d{1,4})(?!\w)",
    re.IGNORECASE,
)
_AIRLINE = ascii_pattern(r"(?<!\w)(?P<airline>[A-Z]{2}|[A-Z]\d)[ ]?(?P<number>\d{2,4})(?![\w/:%])(?![.,]\d)")
_FLIGHT_NEAR = re.compile(r"\b(?:flights?|boarding|gate)\b[^.!?]{0,40}$", re.IGNORECASE)
_TOLL_FREE = ascii_pattern(r"(?<![\w.,$-])1[ -](8\d0|900)[ -](?=[A-Z0-9])")
_ALSO_ZH = ascii_pattern(r"(?<=[或和及、])(?:110|112|114|119|120|122|911|999)(?![\d个次分点折元块.,])")
_CARD = ascii_pattern(
    rf"{_ALONE_BEFORE}\d{{4}}(?:([ -])\d{{4}}(?:\1\d{{3,7}}){{1,3}}|([ -])\d{{6}}\2\d{{5}}){_ALONE_AFTER}"
)
_ROUND = ascii_pattern(r"\d\d0-\d\d00|\d+000000")
_EMERGENCY = ascii_pattern(
    r"(?<=[打拨警救险])(?:110|112|114|119|120|122|911|999)(?![\d个次分点折元块.,])"
    r"|(?<![\w.,$/#–—~-])911(?![\w%/–—~-]|[.,]\d| people\b| [a-z]+s\b)"
    r"|(?:(?<=call )|(?<=dial )|(?<=phone )|(?<=ring )|(?<=text )|(?<= or )|(?<=number ))(?:999|112|988|[2-8]11)"
    r"(?![\w%/–—~-]|[.,]\d| people\b| [a-z]+s\b| [kcm]?m\b)|^(?:999|112|988)(?=[ ]or[ ]\d{3}\b)",
    re.IGNORECASE,
)
_SERVICE_ZH = ascii_pattern(
    r"(?<!\d)(?:10000|10001|10010|10086|10099|12306|123(?:15|20|29|33|45|48|58|66|88)|955[0-9]{2}"
    r"|400-?\d{3}-?\d{4})(?!\d|[元块个万.人名位次米年天字条件家只千亿])"
)
_KEYPAD = ascii_pattern(
    r"(?:(?:(?<=nter )|(?<=ress )|(?<=dial )|(?<=then )|(?<=[按入拨]))\d{1,15}#"
    r"|(?<!\w)(?:[*#]{1,2}\d[\d*]{0,15}#|\*{1,2}\d[\d*]{0,15}))(?=[\s.,;!?。，]|$)"
)
_KEY = ascii_pattern(
    r"(?:(?<=press )|(?<=then )|(?<= hit )|(?<= or )|(?<=the ))[#*](?=[\s.,;!?]|$)|(?<=[按键])[#*](?=键|[，。]|$)",
    re.IGNORECASE,
)

_CODE_WORDS = (
    "code|codes|pin|password|passcode|passphrase|zip|postcode|postal|extension|ext|order|confirmation|tracking|serial|account|card|"
    "reference|ref|ticket|case|invoice|license|licence|plate|booking|reservation|routing|member|membership|policy|claim|access|"
    "verification|otp|id|passport|flight|bus|route|highway|locker|suite|apartment|apt|unit|room|gate|dial|part|model|batch|lot|"
    "port|error|boeing|airbus|channel|interstate|isbn|sku|imei|vin|ssn|ending|ends|digits|number"
    r"|last[ ](?:four|five|six|[456])(?:[ ]digits)?"
)
_CODE = ascii_pattern(
    rf"\b(?P<word>{_CODE_WORDS})\b\.?(?:'s)?(?:[ ](?:number|no\.|num|code|id|is|was|are|were|ending|ends|in|reads|would"
    rf"|be|to|with|called))*[ ]?[:#=]?[ ]?[\"'“]?$",
    re.IGNORECASE,
)
_CODE_AFTER = ascii_pattern(
    r"[\"'”]?[ ](?:is|as|for|into|at)[ ](?:(?:the|your|my|his|her|our|their|a|new|old)[ ])*(?:[a-z]+[ ])?"
    r"(?:code|pin|password|passcode|zip|extension|otp|prompt|keypad)\b",
    re.IGNORECASE,
)
_SHORT_CODE = ascii_pattern(r"\b(?:text|sms|send|message)\b[^.!?]{1,40}\bto[ ]$", re.IGNORECASE)
_CODE_WORD_COUNTS = frozenset(
    [
        "bus",
        "route",
        "highway",
        "unit",
        "part",
        "room",
        "suite",
        "apartment",
        "apt",
        "gate",
        "model",
        "number",
        "lot",
        "batch",
        "flight",
        "error",
        "boeing",
        "airbus",
        "channel",
        "interstate",
    ]
)
_DIGITS = ascii_pattern(
    rf"{_ALONE_BEFORE}#?\d{{2,9}}(?:[ -]\d{{3,9}}){{0,3}}{_ALONE_AFTER}|{_ALONE_BEFORE}0\d{{1,8}}{_ALONE_AFTER}"
)
_CODE_ZH = ascii_pattern(
    "(?:端口|短信到|发送到|发到|验证码|密码|口令|邮编|邮政编码|区号|尾号|门牌号?|房间号?|房号|分机号?|转|编号|单号|订单号?|订单|卡号|账号|帐号|学号|工号|证件号|身份证号?|编码|代码|序列号|"
    "提取码|取件码|取餐码|暗号|车牌号?|航班号?|车次|座机|电话|手机号?|热线|客服|拨打?|号码|微信号?|qq号?|QQ号?|群号|邀请码|校验码|识别码|流水号)"
    '(?:号码|号|为|是|的|？|[?]|：|:|[ ]|尾号|改成|输入|填|“|"|,|，){0,3}$'
)
_TELEPHONE_ZH = ascii_pattern("电话|手机|热线|客服|[拨打]|座机|航班|号码")
_NOT_QUANTITY = ascii_pattern(
    r"(?![ ]?(?:[元块个条张次万亿千百斤米份名位人天年月分秒度层楼折]|percent|dollars|euros|people|items|times|of\b))"
)
_ROOM_ZH = ascii_pattern(
    r"(?<![\w.])\d{3,4}(?=室|房间|号房|路(?:公交|车|[，。！？]|$)|次列车)|(?:(?<=单元)|(?<=[栋幢座楼]))\d{3,4}(?![\d元块个人米.])"
)
_PROPER_ZH = ascii_pattern(
    r"(?<![\d.])(?:985(?=[、/高工大院名，。])|211(?=高校|大学|工程|院校|名校)|996(?=工作|的|，|。)"
    r"|618(?=大促|活动|购物|期间|年中)|315(?=晚会|曝光|打假))"
)
_GRAPHICS = ascii_pattern(r"\b(?P<name>RTX|GTX|RX|Radeon|GeForce)[ ]?(?P<number>\d{3,4})(?!\d)")
_SLANG_ZH = ascii_pattern(r"(?<![\w.,:：$￥¥])(?:(\d)\1{2,5}|23{2,5}|5201314|520|88|886)(?![\w%./:])")


def _groups(text: str) -> list[str]:
    groups = re.findall(r"\d+", text)
    if len(groups) > 1 or len(groups[0]) < 7:
        return groups
    digits = groups[0]
    if len(digits) == 10:
        return [digits[:3], digits[3:6], digits[6:]]
    return [digits[start : start + 4] for start in range(0, len(digits), 4)]


def _spelled(context: Context, match: re.Match[str], telephone: bool = True) -> str:
    text = match.group()
    if context.chinese(*match.span()):
        return "加" * ("+" in text) + zh.digits(text, telephone)
    prefix = "tel " if text.startswith("tel:") else ""
    plus = "plus " if "+" in text else ""
    groups = _groups(text)
    if groups[0] == "1" and groups[1:2] == ["800"] and not plus:
        return f"{prefix}one, eight hundred, {en.grouped_digits(groups[2:])}"
    return prefix + plus + en.grouped_digits(groups)


def _telephone(context: Context, match: re.Match[str]) -> str | None:
    return None if _ROUND.fullmatch(match.group()) else _spelled(context, match)


def _also(context: Context, match: re.Match[str]) -> str | None:
    return _spelled(context, match) if context.kind_at(match.start() - 2) == "telephone" else None


def _flight(context: Context, match: re.Match[str]) -> str | None:
    if context.chinese(*match.span()):
        return match["airline"] + zh.digits(match["number"], telephone=True)
    letters = " ".join(en.digits(one) if one.isdecimal() else one.upper() for one in match["airline"])
    return f"{letters} {en.digits(match['number'])}"


def _airline(context: Context, match: re.Match[str]) -> str | None:
    """ "Your flight is DL 1432"."""
    return _flight(context, match) if _FLIGHT_NEAR.search(context.before(match.start())) else None


def _toll_free(context: Context, match: re.Match[str]) -> str | None:
    return None if context.chinese(*match.span()) else f"one {en.cardinal(int(match[1]))}"


_ANY_CODE_ZH = ascii_pattern("[\u4e00-\u9fff]号码?[是为：:][ ]?$")


def _code(context: Context, match: re.Match[str]) -> str | None:
    before, text = context.before(match.start()), match.group()
    if len(text) >= 5 and _ANY_CODE_ZH.search(before) and context.chinese(*match.span()):
        return zh.digits(text)
    if re.fullmatch(r"#\d{5,9}", text):
        return en.grouped_digits(_groups(text))
    return _named_code(context, match, before)


def _named_code(context: Context, match: re.Match[str], before: str) -> str | None:
    """Digits behind a word such as "code" or "room"."""
    if found := _CODE_ZH.search(before):
        if not _NOT_QUANTITY.match(context.after(match.end())):
            return None
        if context.chinese(*match.span()):
            return zh.digits(match.group(), telephone=bool(_TELEPHONE_ZH.search(found.group())))
    found = _CODE.search(before)
    if not found and _is_code_by_context(context, match):
        return zh.digits(match.group()) if context.chinese(*match.span()) else en.grouped_digits(_groups(match.group()))
    if not found or not _NOT_QUANTITY.match(context.after(match.end())):
        return None
    if context.chinese(*match.span()):
        return zh.digits(match.group())
    text = match.group().lstrip("#")
    word = found["word"].lower()
    if len(text) == 2 and text[0] != "0" and word not in ("code", "codes", "pin", "password", "passcode", "otp", "zip"):
        return None
    if word in _CODE_WORD_COUNTS and len(text) == 3 and text[0] != "0":
        return (
            en.cardinal(int(text[0]))
            + " "
            + (("oh " if text[1] == "0" else "") + en.cardinal(int(text[1:])) if text[1:] != "00" else "hundred")
        )
    if word == "number" and not re.search(
        r"(?:code|phone|account|card|order|flight|tracking|id|room|case|reference|my|your|his|her|our|their)[ ]number",
        before[-40:],
        re.IGNORECASE,
    ):
        return None
    return en.grouped_digits(_groups(text))


def _is_code_by_context(context: Context, match: re.Match[str]) -> bool:
    """ "Enter 8421 as your PIN", "text STOP to 22345"."""
    if _CODE_AFTER.match(context.after(match.end())):
        return True
    return len(match.group()) in (5, 6) and bool(_SHORT_CODE.search(context.before(match.start())))


def _keypad(context: Context, match: re.Match[str]) -> str:
    if context.chinese(*match.span()):
        names = {"*": "星", "#": "井"}
        return "".join(names.get(c) or zh.digits(c, telephone=True) for c in match.group())
    names = {"*": "star", "#": "pound"}
    return " ".join(names.get(c) or en.digits(c) for c in match.group())


def _graphics(context: Context, match: re.Match[str]) -> str:
    name, number = match["name"], match["number"]
    if context.chinese(*match.span()):
        return f"{name} {zh.digits(number)}"
    return f"{' '.join(name) if name.isupper() else name} {en.pairs(number)}"


def _slang(context: Context, match: re.Match[str]) -> str | None:
    if not context.chinese(*match.span()):
        return None
    if re.search(r"[\u3400-\u9fff][ ]?$", context.before(match.start())) or re.match(
        r"[ ]?[\u3400-\u9fff]", context.after(match.end())
    ):
        return None
    return zh.digits(match.group())


_STATES = (
    "AL|AK|AZ|AR|CA|CO|CT|DE|DC|FL|GA|HI|ID|IL|IN|IA|KS|KY|LA|ME|MD|MA|MI|MN|MS|MO|MT|NE|NV|NH|NJ|NM|NY|NC|ND|OH|OK|OR|PA"
    "|RI|SC|SD|TN|TX|UT|VT|VA|WA|WV|WI|WY"
)
_ZIP = ascii_pattern(
    rf"(?:{alternatives(f'{state} ' for state in _STATES.split('|'))})(?P<zip>\d{{5}})(?P<more>-\d{{4}})?(?![\w-])"
)
_MAC = ascii_pattern(r"(?<![\w:])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![\w:])")


def _zip(context: Context, match: re.Match[str]) -> str:
    state = match.group()[:2]
    return f"{state} {en.digits(match['zip'])}" + (f", {en.digits(match['more'])}" if match["more"] else "")


def _mac(context: Context, match: re.Match[str]) -> str:
    parts = re.findall("[0-9A-Fa-f]{2}", match.group())
    return ", ".join(" ".join(en.digits(one) if one.isdecimal() else one.upper() for one in part) for part in parts)


RULES = (
    Rule("code", _ZIP, _zip, re.compile("[A-Z](?=[A-Z] [0-9])")),
    Rule("code", _MAC, _mac, re.compile("[0-9A-Fa-f](?=[0-9A-Fa-f][:-])"), ":-"),
    Rule("keypad", _KEYPAD, _keypad, re.compile("[0-9*#]"), "#*"),
    Rule("keypad", _KEY, _keypad, SIGN_START, "#*"),
    Rule("code", _FLIGHT, _flight, re.compile("(?:(?<=flight )|(?<=flights )|(?<=航班))[A-Z0-9]", re.I)),
    Rule("code", _AIRLINE, _airline, re.compile("[A-Z](?=[A-Z0-9] ?[0-9])")),
    Rule("code", _CARD, _spelled, DIGIT),
    Rule("telephone", _TELEPHONE, _telephone, _TELEPHONE_START),
    Rule(
        "telephone",
        _SERVICE_ZH,
        lambda context, match: _spelled(context, match) if context.chinese(*match.span()) else None,
        DIGIT,
    ),
    Rule("telephone", _TOLL_FREE, _toll_free, DIGIT),
    Rule("telephone", _EMERGENCY, _spelled, DIGIT),
    Rule("telephone", _ALSO_ZH, _also, DIGIT, "或和及、"),
    Rule(
        "code", _ROOM_ZH, lambda context, match: zh.digits(match.group(), telephone=True), DIGIT, "室房号路次单栋幢座楼"
    ),
    Rule("code", _DIGITS, _code, NUMBER_START),
    Rule("code", _PROPER_ZH, lambda context, match: zh.digits(match.group(), telephone="1" in match.group()), DIGIT),
    Rule("code", _GRAPHICS, _graphics, re.compile("[GR](?=TX|X|adeon|eForce)")),
    Rule("code", _SLANG_ZH, _slang, DIGIT),
)
