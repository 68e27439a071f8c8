"""Makes inputs from valid ones: random changes of bytes and of text."""

import random
from collections.abc import Sequence

EXTREMES = [b"\0", b"\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\x80\0\0\0", b"\xff" * 9 + b"\x01"]
MAX_BYTES = 1 << 16

CHARACTERS = (
    "09.,:;-–—/\\$€¥£%‰°#@&*_~`'\"()[]{}<>|=+^!?…。，、！？；：（）《》「」"
    "aZéßİıﬀЖאبกक가あア一兙龦〇零十百千万亿\u200b\u200d\ufeff\u202e\u0301\ufe0f\u00a0\u3000\n\r\t"
    "🇦👩‍🔬😀①½²₂ⅣK℃㎡㈱"
)
WORDS = (
    "https://a.b/c?d=e", "1e999", "<think>", "</think>", "<speak>", "</speak>", "<break time='9s'/>", "[sigh]", "```",
    "$$", "\\frac{1}{2}", "&amp;", "&#39;", "2026-11-30", "10:30", "192.168.0.1", "$3.50", "5%", "1,234,567.89", "±",
    "Dr.", "St.", "e.g.", "i.e.", "No. 5", "H2O", "v1.2.3", "+1 (555) 555-0100", "第", "年", "点", "块", "号",
)  # fmt: skip


def mutated(seeds: Sequence[bytes], draw: random.Random, is_text: bool) -> bytes:
    """A changed copy of one of `seeds`: one to eight changes."""
    data = draw.choice(seeds)
    change = _changed_text if is_text else _changed
    for _ in range(draw.choice((1, 1, 2, 3, 5, 8))):
        data = change(data, seeds, draw)
    return data[:MAX_BYTES]


def _changed(data: bytes, seeds: Sequence[bytes], draw: random.Random) -> bytes:
    at = _position(data, draw)
    match draw.randrange(8):
        case 0:  # a bit
            return data[:at] + bytes([(data[at] if at < len(data) else 0) ^ 1 << draw.randrange(8)]) + data[at + 1 :]
        case 1:  # a byte
            return data[:at] + draw.randbytes(1) + data[at + 1 :]
        case 2:  # numbers at their limits
            extreme = draw.choice(EXTREMES)
            return data[:at] + extreme + data[at + len(extreme) :]
        case 3:
            return data[:at] + draw.randbytes(draw.randint(1, 16)) + data[at:]
        case 4:
            return data[:at] + data[at + draw.randint(1, 64) :]
        case 5:
            return data[:at]
        case 6:  # a part again
            end = at + draw.randint(1, 64)
            return data[:end] + data[at:end] * draw.randint(1, 8) + data[end:]
        case _:
            other = draw.choice(seeds)
            return data[:at] + other[_position(other, draw) :]


def _position(data: bytes, draw: random.Random) -> int:
    """A place in `data`: often in its header."""
    limit = min(len(data), 64) if draw.random() < 0.5 else len(data)
    return draw.randint(0, limit)


def _changed_text(data: bytes, seeds: Sequence[bytes], draw: random.Random) -> bytes:
    text = data.decode("utf8", "ignore")
    at = draw.randint(0, len(text))
    end = min(len(text), at + draw.randint(1, 12))
    match draw.randrange(8):
        case 0:
            text = text[:at] + draw.choice(CHARACTERS) + text[at:]
        case 1:
            text = text[:at] + draw.choice(WORDS) + text[at:]
        case 2:
            text = text[:at] + text[end:]
        case 3:  # a run
            text = text[:at] + draw.choice(CHARACTERS) * draw.choice((2, 3, 20, 200)) + text[at:]
        case 4:
            text = text[:end] + text[at:end] * draw.choice((1, 2, 30)) + text[end:]
        case 5:
            other = draw.choice(seeds).decode("utf8", "ignore")
            text = text[:at] + other[draw.randint(0, len(other)) :]
        case 6:
            text = text[:at] + chr(_code_point(draw)) + text[at:]
        case _:
            text = text[:at] + text[at:].swapcase()
    return text.encode("utf8", "ignore")


def _code_point(draw: random.Random) -> int:
    """Of any plane, without surrogates."""
    limit = draw.choice((0x80, 0x250, 0x3000, 0xA000, 0x110000))
    found = draw.randrange(limit)
    return found if not 0xD800 <= found < 0xE000 else 0x20
