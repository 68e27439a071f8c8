"""Stages of synthesis in plain words, and the time that each took."""

from collections.abc import Mapping

_NAMES = {
    "prefill": "reading text and voice",
    "lm": "language model",
    "diffusion": "diffusion",
    "vae": "decoding to sound",
    "gpt_gen_time": "language model",
    "gpt_forward_time": "language model",
    "s2mel_time": "diffusion",
    "bigvgan_time": "decoding to sound",
    "synthesis": "synthesis",
}
"""Engines that work alike have stages of the same name; IndexTTS's are those of its official package."""


def named_stages(stage_ms: Mapping[str, float]) -> dict[str, float]:
    """The time of each stage by its name for people, longest first."""
    named: dict[str, float] = {}
    for stage, spent_ms in stage_ms.items():
        name = _NAMES.get(stage, stage.removesuffix("_time").replace("_", " "))
        named[name] = named.get(name, 0.0) + spent_ms
    return dict(sorted(named.items(), key=lambda item: -item[1]))
