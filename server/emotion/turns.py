"""Turns of phrase that no list of words holds: expressions on the text in lower case, only data, for `lexicon.py`."""

_PRAISE = "(?:great|wonderful|perfect|fantastic|brilliant|lovely|terrific|awesome|super|nice)"
_TROUBLE = r"(?:again|another|broken|crash\w*|late|stuck|down|delayed|dead|died|jammed)"
_KNOWN = "(?:know|knew|realise|realize|think|thought)"

# Praise near them is meant as its opposite.
SARCASM: tuple[str, ...] = (
    rf"\b(?:oh|well|yeah|just),? {_PRAISE}\b[^.!?]*(?:\b{_TROUBLE}\b|又)",
    rf"^\W*{_PRAISE}[,.!]+ (?:just )?(?:(?:yet )?another\b|now (?:it|the|my|we)\b)",
    rf"^\W*{_PRAISE}[,.!]+ (?:it|the|my|our|he|she|they|you)\b[^.!?]*\b{_TROUBLE}\b",
    r"\bjust what (?:i|we) (?:needed|wanted)\b",
    r"\byeah,? (?:right|sure)\b",
    r"\bthanks (?:a lot )?for (?:nothing|wasting|ruining|breaking|losing)\b",
    r"\bas if (?:that|it|i|you|they)\b[^.!?]*\bever\b",
    r"\bhow (?:convenient|original|nice for you)\b",
    r"\b(?:good|nice|great) job (?:breaking|ruining|losing|messing|screwing)\b",
    r"\b(?:big|what a) surprise,? (?:it|they|you|he|she)\b",
    r"\blucky me\b",
    r"真谢谢你了|(?:我|真是|可真是)谢谢(?:你|您)(?:全家|了|啊)",
    r"呵呵",
    r"(?:你|您|你们)可真(?:行|是|会|能|棒|厉害)",
    r"(?:好极了|太好了|太棒了|真好|真棒|很好)[,，。!！ ]*(?:他|她|它|你|你们|他们|这|现在|今天)?又",
    r"(?:正好|刚好)[,，]?又(?:坏|停|卡|挂|死)",
    r"真是时候|真会挑时候|真有你的|真是服了|谁信啊|说得(?:好听|轻巧)|想得美",
)

# Emotion → strength → expressions.
TURNS: dict[str, dict[float, tuple[str, ...]]] = {
    "happy": {
        0.7: (
            r"\bbest\b[^.!?]{0,30}\bever\b",
            r"\b(?:love|loved|loving) (?:it|this|that|these|those|your|his|her|the way)\b",
            r"\bthank you,? thank you\b|谢谢[，！]?谢谢",
            r"过最(?:好|棒|美|开心|幸福|香|甜)",
        ),
    },
    "angry": {
        0.75: (
            r"\bworst\b[^.!?]{0,30}\bever\b",
            r"\byou (?:lied|promised|cheated|tricked|used me)\b",
            r"过最(?:差|烂|糟|坑|恶)",
            r"(?:你|你们|他|她|他们)骗(?:我|人|了)",
        ),
        0.55: (
            r"\b(?:told|asked|called|explained|written|reported|emailed)\b[^.!?]{0,30}\b(?:times|twice)\b",
            r"\b(?:been|kept)\b[^.!?]{0,12}\b(?:waiting|on hold)\b[^.!?]*\b(?:hours?|minutes|days|weeks)\b",
            r"\byou never (?:listen|call|care|help|answer|learn|say)\b|\bwho do you think you(?:'re| are)\b",
            r"(?:你|你们)(?:从来|根本)(?:都)?[不没]",
            r"^(?:give|get|open|stop|answer|tell|put|shut|take|turn|leave|bring)\b[^.?]*\bnow!",
            r"[，,](?:马上|立刻|现在)！",
            r"\bwhy (?:won't|can't|don't|doesn't) (?:you|this|that|it|anyone|anybody)\b[^.?]*!",
            r"(?:等|说|讲|打|催|问|报)了[^，。！？]{0,6}(?:遍|次|小时|分钟|钟头|天|个月)了?[^，。]*[，！]",
            r"(?:怎么|为什么)(?:老是|总是|每次|还|又)[^。]*！",
        ),
    },
    "sad": {
        0.6: (
            r"\b(?:i|we) (?:just |only |really )?wish (?:i|we|he|she|it|things)\b",
            r"\breally miss\b",
            r"\b(?:without|since) (?:him|her|you) ?(?:left|died|was gone)?[.!…]*$",
            r"\bnever (?:see|hear|hold) \w+ again\b",
            r"(?:要是|如果|当初|当时|早点)[^。！？]*就好了",
            r"再也(?:见|看|听|吃|回)不(?:到|了|来)",
        ),
    },
    "surprised": {
        0.6: (
            rf"\b(?:didn't|don't|never) {_KNOWN} (?:you|he|she|it|they|that)\b[^.?]*!",
            r"\b(?:did|said|won|paid|ate|want|wants|spent|married) (?:what|who|how much|how many)\W*\?",
            r"^(?:wait|hang on|hold on|what|what do you mean|oh|really|huh), [^.!]*\?",
            r"^(?:等等|等一下|慢着|什么|哇|啊|咦|诶|欸|哎)[，,、][^。！]*[？?]",
            r"(?:不知道|没想到|猜不到)[^。？]*！",
        ),
    },
}
