"""Parameters that several engines have, so that one name means one thing for all of them."""

from intone.server.domain import EngineParameter


def steps(default: int) -> EngineParameter:
    """Evaluations of the diffusion model."""
    return EngineParameter("steps", "diffusion steps: more is slower and finer", 1, 100, default, integer=True)


def guidance(default: float) -> EngineParameter:
    """Strength of classifier-free guidance."""
    text = "classifier-free guidance: 1 is none, and is faster; more follows the text and the voice more strictly"
    return EngineParameter("guidance", text, 0, 10, default)


MIN_AUDIO_MS = EngineParameter(
    "min_audio_ms", "no unit ends before so many milliseconds of audio", 0, 60_000, integer=True
)
MAX_AUDIO_MS = EngineParameter(
    "max_audio_ms",
    "a unit is cut at so many milliseconds of audio; the default grows with its text",
    100,
    600_000,
    integer=True,
)


def of_diffusion(default_steps: int, default_guidance: float) -> tuple[EngineParameter, ...]:
    """The parameters of an engine with a guided diffusion model whose units have a variable length."""
    return steps(default_steps), guidance(default_guidance), MIN_AUDIO_MS, MAX_AUDIO_MS
