"""Which units wait for the cached frames of their voice (`s2mel/voice_cache.py`), and the work that they wait for."""

from collections.abc import Iterable

from intone.server.engines.indextts.s2mel import streaming
from intone.server.engines.indextts.s2mel.acoustic import AcousticPrompt, AcousticSettings
from intone.server.engines.indextts.s2mel.voice_cache import VoiceCache
from intone.server.engines.indextts.state import IndexTTSState
from intone.server.nn.stage_clock import StageClock


class CachedVoices:
    """All of them wait for nothing without a cache. Not thread-safe."""

    def __init__(self, cache: VoiceCache | None) -> None:
        self._cache = cache

    def lacks(self, state: IndexTTSState) -> bool:
        """Whether the unit, which has been prefilled, waits. Whole units are exact and use no cached frames."""
        assert state.acoustic is not None, "prefill sets it"
        return self._cache is not None and not state.request.whole and state.acoustic.voice.cached is None

    def advance(self, states: Iterable[IndexTTSState], clock: StageClock) -> None:
        """Give prefilled units the cached frames of their voices, or compute those of one of them at one more step."""
        for state in filter(self.lacks, states):
            assert self._cache is not None and state.acoustic is not None, "it waits"
            with clock.stage("s2mel_time"):
                cached = self._cache.advance(state.speaker.prompt, state.plan.prompt_frames, state.settings)
            if cached is None:
                return
            state.acoustic = streaming.with_cached_voice(state.acoustic, cached)

    def prepare(self, prompt: AcousticPrompt, frames: int | None, settings: AcousticSettings) -> None:
        """Compute the frames of a voice before a unit waits for them."""
        while self._cache is not None and self._cache.advance(prompt, frames, settings) is None:
            pass
