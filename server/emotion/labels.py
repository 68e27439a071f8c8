"""Names and short descriptions of emotions, English and Chinese → weights, by keywords. Knows no sentences.

For what somebody writes to say how speech should sound ("tired but relieved", "有点难过"), never for what is spoken.
"""

import functools

from intone.server.emotion import words_en, words_zh
from intone.server.emotion.grammar import Entry, Role, scales
from intone.server.emotion.phrases import Kind, Table, entries_of
from intone.server.emotion.reading import NEUTRAL, Reading, neutral, reading

CALM_BY_DEFAULT = 0.5
_EARLIER = 0.5  # what a word keeps when "but" follows it
_MARKS = (Kind.PAUSE, Kind.STOP, Kind.ASK, Kind.TRAIL)

# A mixture of emotions → the words for it.
_KEYWORDS = {
    "happy 1": """happy~, happiness, joy, joyful~, joyous, glad~, cheerful~, cheery, merry, elated, ecstatic, delight~,
        thrilled, overjoyed, jubilant, blissful, laughing, laughs, laugh, giggling, giggles, chuckles, chuckling, 高兴,
        开心, 快乐, 喜悦, 愉快, 欢快, 欢喜, 欢乐, 欣喜, 喜, 大笑, 笑, 开怀""",
    "happy 0.7": """pleased, amused, playful~, smiling, smiles, friendly, warm~, bright~, content, contented, proud~,
        loving~, affectionate~, tender~, grateful~, optimistic, hopeful~, encouraging~, upbeat, lively, flirty,
        teasing~, welcoming, enthusiasm, 满足, 满意, 自豪, 骄傲, 热情, 温暖, 亲切, 友好, 俏皮, 调皮, 活泼, 感激, 微笑,
        甜蜜, 撒娇, 兴致勃勃, 期待""",
    "happy 0.9 surprised 0.3": """excite~, excitement, exhilarated, energetic~, enthusiastic, enthusiastically, hyped,
        激动, 兴奋, 热烈, 亢奋""",
    "happy 0.5 calm 0.5": """relieve~, relief, reassuring~, reassured, comforted, 欣慰, 释然, 如释重负, 松了口气,
        松了一口气, 放心""",
    "happy 0.7 surprised 0.7": "amazed, awestruck, awe, astonished and happy, 惊喜, 惊叹",
    "angry 1": """angry~, anger, angrily, furious~, fury, rage, enraged, livid, mad, outrage~, outraged, hostile,
        aggressive~, wrathful, irate, shouting, yelling, screaming at, 生气, 愤怒, 发怒, 怒, 恼怒, 恼火, 暴怒, 气愤,
        愤慨, 狂怒, 怒气, 大怒, 火大""",
    "angry 0.6": """annoy~, annoyance, irritate~, irritable, irritation, frustrate~, frustration, impatient~, grumpy,
        cross, stern~, harsh~, strict~, bitter~, jealous~, sarcastic, sarcastically, cranky, resentful~, 烦躁, 不耐烦,
        不满, 烦, 严厉, 急躁, 嫉妒, 讽刺, 抱怨, 不爽, 郁闷""",
    "sad 1": """sad~, sadness, sorrow~, sorrowful~, grief, grieving, mournful~, heartbroken, crying, cries, weeping,
        sobbing, sobs, tearful~, devastated, miserable, miserably, despair~, 悲伤, 难过, 伤心, 悲痛, 哀伤, 悲哀, 悲,
        哭泣, 哭, 心碎, 痛苦, 绝望, 哽咽, 伤感""",
    "sad 0.7": """upset, unhappy, unhappily, disappoint~, disappointment, regret, regretful~, sympathetic,
        sympathetically, compassionate~, sorry, apologetic, apologetically, hurt, lonely, guilty, ashamed, pained,
        失望, 遗憾, 同情, 抱歉, 歉意, 委屈, 内疚, 孤独, 不开心, 不高兴, 沮丧, 心疼""",
    "afraid 1": """afraid, fear~, fearful~, scared, terrified, frightened, horrified, terror, panic, panicked, panicky,
        害怕, 恐惧, 惊恐, 惊慌, 恐慌, 畏惧, 慌张, 怕""",
    "afraid 0.6": """nervous~, anxious~, anxiety, worry~, worried, tense~, uneasy, timid~, hesitant~, insecure, shy~,
        embarrassed, 紧张, 担心, 焦虑, 不安, 担忧, 犹豫, 胆怯, 害羞, 尴尬, 忐忑""",
    "disgusted 1": """disgust~, disgusted, revolted, repulsed, contempt, contemptuous~, scornful~, 厌恶, 恶心, 反感,
        嫌弃, 鄙视, 轻蔑, 讨厌""",
    "disgusted 0.6": "disdainful~, dismissive~, cynical, 不屑, 冷嘲",
    "melancholic 1": """melancholic, melancholy, gloomy, gloomily, depress~, depressed, low, down, wistful~, nostalgic,
        nostalgia, somber~, sombre, moody, 低落, 忧郁, 忧伤, 抑郁, 惆怅, 消沉, 落寞, 怀旧, 感伤, 沉重""",
    "melancholic 0.6": """tired~, weary, wearily, exhausted, bored, sleepy, resigned, sighing, sighs, 疲惫, 疲倦, 累,
        无奈, 无聊, 叹气""",
    "surprised 1": """surprise~, surprised, surprisingly, astonished, astonishment, shocked, shock, stunned, startled,
        speechless, disbelief, incredulous~, 惊讶, 吃惊, 震惊, 惊奇, 诧异, 惊, 意外, 难以置信, 惊呆""",
    "surprised 0.6": "curious~, curiosity, confused, puzzled, wondering, intrigued, 好奇, 疑惑, 困惑, 纳闷",
    "calm 1": """calm~, relaxed, peaceful~, serene~, soothing~, gentle, gently, soft, softly, steady, steadily,
        composed, quiet~, patient~, serious~, professional~, natural~, mellow, 平静, 冷静, 镇定, 温柔, 柔和, 轻柔,
        安静, 放松, 沉稳, 自然, 平和, 淡定, 耐心, 严肃, 沉着, 从容""",
}
_NOTHING = """neutral, neutrally, normal, normally, plain, plainly, unemotional, flat, default, 中性, 中立, 正常, 平淡,
    普通, 默认"""
_SILENT = """a, an, the, and, with, in, of, very much, tone, tones, voice, mood, manner, way, emotion, feeling,
    feelings, expression, style, sound, sounds, sounding, speaks, speaking, speak, spoken, says, said, 地, 的, 着, 得,
    而, 而且, 又, 和, 并, 并且, 语气, 声音, 情绪, 心情, 表情, 口吻, 说, 说话, 讲, 感到, 觉得, 用, 带, 带着, 略带, 语调,
    了"""
# Known in a description; alone in a bracket they are more likely words of the text.
_NO_TAGS = frozenset(
    entries_of(
        """content, low, down, cross, bright, flat, default, normal, plain, natural, serious, professional, moody,
        sorry, hurt, relief, cries, harsh, strict, patient, quiet, soft, mad, 普通, 默认, 正常, 自然, 烦, 累, 期待,
        安静, 意外"""
    )
)
_CONTRASTS = "but, yet, though, although, however, 但, 但是, 却, 不过, 可是"
_NOT = "not, no, never, without, isn't, 不, 没, 没有, 并不, 别, 不是"


def from_label(label: str) -> Reading | None:
    """The emotion that `label` names; None unless every word of it is known and one of them names an emotion."""
    return _read(label, strict=True)


def describe(text: str) -> Reading:
    """The emotion that a free description asks for; calm where no word of it is known."""
    found = _read(text, strict=False)
    if found is not None:
        return found
    return reading({"calm": CALM_BY_DEFAULT}, "no word of the description is known: calm")


def _read(text: str, strict: bool) -> Reading | None:
    table = _table()
    tokens = table.tokens(text)
    strengths: dict[str, float] = {}
    names: list[str] = []
    scale, denied, position = 1.0, False, 0
    while position < len(tokens):
        found = table.longest(tokens, position)
        if found is None:
            if strict and tokens[position].kind not in _MARKS:
                return None
            position += 1
            continue
        position, entry = found
        if strict and entry.name in _NO_TAGS:
            return None
        if entry.role is Role.CONTRAST:
            strengths = {emotion: weight * _EARLIER for emotion, weight in strengths.items()}
        elif entry.role is Role.NEGATION:
            denied = True
        elif entry.role is Role.SCALE:
            scale *= entry.value
        elif entry.role is Role.FEELING:
            if not denied:
                names.append(entry.name)
                _mix(strengths, _MIXTURES[entry.emotion], scale)
            scale, denied = 1.0, False
    return _joined(strengths, names)


def _joined(strengths: dict[str, float], names: list[str]) -> Reading | None:
    words = ", ".join(f"“{name}”" for name in dict.fromkeys(names))
    if not names:
        return None
    if not any(strengths.values()):
        return neutral(f"asked for: {words}")
    return reading(strengths, f"asked for: {words}", companion_share=0.0)


def _mix(strengths: dict[str, float], mixture: dict[str, float], scale: float) -> None:
    """Put a mixture into the strengths; each emotion takes the larger."""
    for emotion, weight in mixture.items():
        strengths[emotion] = max(strengths.get(emotion, 0.0), min(weight * scale, 1.0))


def _mixture(written: str) -> dict[str, float]:
    parts = written.split()
    return {name: float(weight) for name, weight in zip(parts[::2], parts[1::2], strict=True)}


def _entries() -> dict[str, Entry]:
    found = {name: Entry(Role.PLAIN, name) for name in entries_of(_SILENT)}
    found |= {name: Entry(Role.CONTRAST, name) for name in entries_of(_CONTRASTS)}
    found |= {name: Entry(Role.NEGATION, name) for name in entries_of(_NOT)}
    found |= scales(words_en.SCALES) | scales(words_zh.SCALES)
    for written, words in _KEYWORDS.items():
        found |= {name: Entry(Role.FEELING, name.removesuffix("~"), written) for name in entries_of(words)}
    return found | {name: Entry(Role.FEELING, name, NEUTRAL) for name in entries_of(_NOTHING)}


_MIXTURES = {written: _mixture(written) for written in _KEYWORDS} | {NEUTRAL: {}}


@functools.cache
def _table() -> Table[Entry]:
    """Built when the first label is read, not when this is imported."""
    return Table(_entries(), str.maketrans(words_zh.TRADITIONAL, words_zh.SIMPLIFIED))
