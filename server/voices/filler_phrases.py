"""Texts that are spoken in the background: fillers, and sentences for measurements.

Fillers are interjections that fit before anything of the answer is known: none promises or judges anything.
"""

from collections.abc import Mapping

from intone.server.domain import EMOTIONS

# Shortest first. All are words that speech engines pronounce, rather than spell letter by letter.
_ENGLISH = {
    "neutral": ("Hmm.", "Well.", "Let me see.", "Hmm, well, let me think."),
    "happy": ("Oh!", "Ha!", "Oh, hey!", "Ha ha, well, let me see!"),
    "angry": ("Ugh!", "Argh!", "Oh, honestly!", "Oh, for crying out loud!"),
    "sad": ("Oh.", "Oh dear.", "Oh, oh dear.", "Oh dear, let me think."),
    "afraid": ("Oh!", "Oh no!", "Yikes!", "Oh no, oh dear!"),
    "disgusted": ("Ugh.", "Ick.", "Oh, ugh.", "Ugh, oh, goodness me."),
    "melancholic": ("Ah.", "Ah, well.", "Hmm, ah, well.", "Ah, well, let me think."),
    "surprised": ("Oh!", "Wow!", "Oh, wow!", "Oh my goodness, wow!"),
}
_CHINESE = {
    "neutral": ("嗯。", "这个嘛。", "让我想想。", "嗯，让我想一想啊。"),
    "happy": ("哇！", "哈哈！", "哎呀，哈哈！", "哈哈，让我看看啊！"),
    "angry": ("哼！", "哎！", "哎呀，真是！", "哎呀，我的天哪！"),
    "sad": ("唉。", "哎呀。", "唉，哎呀。", "唉，让我想一想。"),
    "afraid": ("啊！", "哎呀！", "啊，天哪！", "哎呀，我的天哪！"),
    "disgusted": ("呃。", "咦。", "呃，哎呀。", "哎呀，呃，天哪。"),
    "melancholic": ("唉。", "嗯，唉。", "唉，这个嘛。", "唉，让我想想啊。"),
    "surprised": ("啊？", "哇！", "哎呀！", "哎呀，我的天哪！"),
}

PHRASES: Mapping[str, Mapping[str, tuple[str, ...]]] = {"en": _ENGLISH, "zh": _CHINESE}
"""Fillers by language and emotion. There are none for "calm", which sounds like neutral."""

EMOTIONS_WITH_PHRASES = ("neutral", *(emotion for emotion in EMOTIONS if emotion != "calm"))

CALIBRATION_SENTENCES = {
    "en": ("The library is open from nine in the morning until six.", "You will find the blue folder on the table."),
    "zh": ("图书馆每天早上九点开门，晚上六点关门。", "蓝色的文件夹放在那张桌子上。"),
}
"""By language: neutral sentences on which an engine's loudness is measured."""

FIRST_SENTENCE = {"en": "Hello there.", "zh": "你好呀。"}
"""By language: spoken once at start-up, for the forecast of the time to first audio."""
