"""Sentences of spoken agents: numbers, codes, spelled names, greetings, replies, lists, questions, repetitions.

Novels have almost none of these, and a model that never heard a digit three times in a row miscounts it. The sentences
are composed at random from the tables below; digits and words are repeated more often than by chance. They are written
as an agent writes them ("555-0142", "$12.50"), and the normalizer of the server turns them into words.
"""

import random
from collections.abc import Callable, Iterator

from training.agent_words import (
    CHINESE_ITEMS,
    CHINESE_NAMES,
    CHINESE_QUESTIONS,
    CHINESE_REPEATED,
    CHINESE_REPLIES,
    CHINESE_TURNS,
    ITEMS,
    MONTHS,
    NAMES,
    QUESTIONS,
    REPEATED,
    REPLIES,
    TURNS,
)

REPEAT_SHARE = 0.3
"""Fraction of the digits, beyond one in ten, that equal the digit before them."""

Composer = Callable[[random.Random], str]
"""Composes one sentence."""


def sentences(language: str, count: int, seed: int) -> Iterator[str]:
    """`count` raw sentences, kinds in random order; deterministic for the same arguments. They may repeat.

    Raises:
        KeyError: neither `en` nor `zh`.
    """
    rng = random.Random(seed)
    kinds = {"en": ENGLISH, "zh": CHINESE}[language]
    composers, weights = list(kinds), list(kinds.values())
    for composer in rng.choices(composers, weights, k=count):
        yield composer(rng)


def digits(rng: random.Random, count: int) -> str:
    """Random digits, of which many equal the one before."""
    result = ""
    for _ in range(count):
        repeats = result and rng.random() < REPEAT_SHARE
        result += result[-1] if repeats else rng.choice("0123456789")
    return result


def phone_number(rng: random.Random) -> str:
    """A North American number in one of the usual spellings."""
    area, exchange, line = rng.choice("23456789") + digits(rng, 2), rng.choice(("555", digits(rng, 3))), digits(rng, 4)
    local = f"{exchange}-{line}"
    return rng.choice((local, f"{area}-{local}", f"({area}) {local}", f"1-800-{local}", f"{area}.{exchange}.{line}"))


def code(rng: random.Random) -> str:
    """A code of four to eight digits, or of letters and digits."""
    if rng.random() < 0.6:
        return digits(rng, rng.randint(4, 8))
    letters = "ABCDEFGHJKLMNPQRSTUVWXYZ"
    return f"{rng.choice(letters)}{digits(rng, 2)}{rng.choice(letters)}-{digits(rng, 2)}{rng.choice(letters)}"


def _phone(rng: random.Random) -> str:
    lead = rng.choice(
        ("Your number is", "Please call", "You can reach us at", "I have", "The number is", "Dial", "Text")
    )
    return f"{lead} {phone_number(rng)}{rng.choice(('.', '.', '?', ', right?'))}"


def _code(rng: random.Random) -> str:
    lead = rng.choice(("The code is", "Your order number is", "Reference", "Please enter", "Confirmation code", "It's"))
    return f"{lead} {code(rng)}."


def _digits_alone(rng: random.Random) -> str:
    separator = rng.choice((" ", ", ", "-"))
    return separator.join(digits(rng, rng.randint(2, 7))) + rng.choice((".", ",", "?"))


def _spelled(rng: random.Random) -> str:
    name = rng.choice(NAMES)
    letters = "-".join(name.upper())
    return rng.choice(
        (f"That's {name}, {letters}.", f"{letters}.", f"Is it spelled {letters}?", f"{name} is {letters}.")
    )


def _price(rng: random.Random) -> str:
    amount = f"${rng.randint(0, rng.choice((20, 200, 3000)))}.{rng.randint(0, 99):02d}"
    whole = f"${rng.randint(1, 900)}"
    item = rng.choice(ITEMS)
    return rng.choice(
        (
            f"That comes to {amount}.",
            f"The {item} costs {whole}.",
            f"Your total is {amount}, including tax.",
            f"{whole}?",
        )
    )


def _time(rng: random.Random) -> str:
    time = f"{rng.randint(1, 12)}:{rng.choice((0, 5, 10, 15, 20, 30, 44, 45, 50, 55, 11, 22)):02d}"
    half = rng.choice(("", " AM", " PM"))
    return rng.choice(
        (f"It starts at {time}{half}.", f"We open at {time}{half}.", f"How about {time}{half}?", f"At {time}{half}.")
    )


def _date(rng: random.Random) -> str:
    date = f"{rng.choice(MONTHS)} {rng.randint(1, 28)}"
    return rng.choice(
        (
            f"Your appointment is on {date}.",
            f"It was shipped on {date}, {rng.randint(1995, 2035)}.",
            f"Is {date} at {rng.randint(1, 12)}:{rng.choice(('15', '30', '45'))} okay?",
        )
    )


def _count(rng: random.Random) -> str:
    item = rng.choice(ITEMS)
    return rng.choice(
        (
            f"I found {rng.randint(2, 120)} results for {item}.",
            f"Room {rng.randint(1, 9)}{digits(rng, 2)}, on the left.",
            f"About {rng.randint(1, 100)} percent of it.",
            f"That is version {rng.randint(1, 9)}.{rng.randint(0, 20)}.",
        )
    )


def _list(rng: random.Random) -> str:
    items = rng.sample(ITEMS, rng.randint(3, 6))
    listed = f"{', '.join(items[:-1])}{rng.choice((' and', ', and'))} {items[-1]}"
    return f"{rng.choice(('You ordered', 'We have', 'It includes', 'I can see', 'Choose from'))} {listed}."


def _reply(rng: random.Random) -> str:
    return rng.choice(REPLIES)


def _turn(rng: random.Random) -> str:
    return rng.choice(TURNS).format(name=rng.choice(NAMES), item=rng.choice(ITEMS))


def _question(rng: random.Random) -> str:
    return rng.choice(QUESTIONS).format(name=rng.choice(NAMES), item=rng.choice(ITEMS))


def _repeated(rng: random.Random) -> str:
    word = rng.choice((*REPEATED, *REPEATED, rng.choice(NAMES), rng.choice(ITEMS)))
    said = rng.choice((" ", ", ")).join([word] * rng.randint(2, 4))
    return said[0].upper() + said[1:] + rng.choice((".", ".", ",", ", that is fine.", ", I can help with that."))


ENGLISH: dict[Composer, float] = {
    **{_phone: 3, _code: 3, _digits_alone: 3, _spelled: 2, _price: 2, _time: 2, _date: 2, _count: 1.5},
    **{_list: 1.5, _reply: 2, _turn: 3, _question: 2.5, _repeated: 2},
}
"""Kinds of English sentences and how often each is composed."""


def _chinese_phone(rng: random.Random) -> str:
    mobile = f"1{rng.choice('3578')}{digits(rng, 1)}{rng.choice(('', '-'))}{digits(rng, 4)}"
    lead = rng.choice(("您的电话是", "请拨打", "联系电话", "我的号码是", "请记一下，"))
    separator = "-" if "-" in mobile else ""
    return f"{lead}{mobile}{separator}{digits(rng, 4)}。"


def _chinese_code(rng: random.Random) -> str:
    lead = rng.choice(("验证码是", "订单号是", "请输入", "您的编号是", "房间号是"))
    return f"{lead}{digits(rng, rng.randint(3, 8))}。"


def _chinese_price(rng: random.Random) -> str:
    amount = rng.choice((f"{rng.randint(1, 3000)}", f"{rng.randint(1, 300)}.{rng.randint(1, 9)}"))
    return rng.choice((f"一共是{amount}元。", f"{rng.choice(CHINESE_ITEMS)}{amount}元。", f"总价{amount}元，对吗？"))


def _chinese_time(rng: random.Random) -> str:
    time = f"{rng.randint(1, 12)}:{rng.choice((10, 15, 20, 30, 44, 45, 50, 55))}"
    half = rng.choice(("上午", "下午", "晚上"))
    day = f"{rng.randint(1, 12)}月{rng.randint(1, 28)}日"
    return rng.choice(
        (f"现在是{half}{time}。", f"{day}{half}{time}可以吗？", f"我们{half}{time}开门。", f"预约在{day}。")
    )


def _chinese_list(rng: random.Random) -> str:
    items = rng.sample(CHINESE_ITEMS, rng.randint(3, 5))
    return f"{rng.choice(('您点了', '我们有', '里面有'))}{'、'.join(items[:-1])}和{items[-1]}。"


def _chinese_reply(rng: random.Random) -> str:
    return rng.choice(CHINESE_REPLIES)


def _chinese_turn(rng: random.Random) -> str:
    return rng.choice(CHINESE_TURNS).format(name=rng.choice(CHINESE_NAMES), item=rng.choice(CHINESE_ITEMS))


def _chinese_question(rng: random.Random) -> str:
    return rng.choice(CHINESE_QUESTIONS).format(name=rng.choice(CHINESE_NAMES), item=rng.choice(CHINESE_ITEMS))


def _chinese_repeated(rng: random.Random) -> str:
    word = rng.choice(CHINESE_REPEATED)
    return rng.choice(("", "，")).join([word] * rng.randint(2, 3)) + rng.choice(("。", "，"))


CHINESE: dict[Composer, float] = {
    **{_chinese_phone: 3, _chinese_code: 3, _chinese_price: 2, _chinese_time: 2, _chinese_list: 1.5},
    **{_chinese_reply: 2, _chinese_turn: 3, _chinese_question: 2.5, _chinese_repeated: 2},
}
"""Kinds of Mandarin sentences and how often each is composed."""
