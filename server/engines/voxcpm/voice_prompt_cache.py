"""What is the same for all units of a voice, worked out once. Knows nothing of units; forgets the voices used least."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from intone.server.domain import PreparedVoice
from intone.server.engines.voxcpm.audio_vae import DecoderState
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.prompt import Clip, Prompt, build_beginning, build_prompt
from intone.server.engines.voxcpm.state import Beginning
from intone.server.engines.voxcpm.text import TextTokenizer
from intone.server.engines.voxcpm.voice import clip_of, decoder_of
from intone.server.nn.kv_cache import GROWTH_POSITIONS

KEPT_POSITIONS = 2048
"""Of the beginnings of all voices together. In float32 a position is 30 KiB of 0.5B, 32 of 1.5 and 72 of 2, so 2048
are 60, 64 and 144 MiB. A continued voice has as many as its transcript has tokens, a reference as its sound has
patches and two more; both count, and take memory, in whole blocks of `GROWTH_POSITIONS`."""


@dataclass(frozen=True, slots=True)
class KnownVoice:
    """A prepared voice on the model's device.

    Attributes:
        voice: as it was prepared.
        clip: its recording.
        decoder: of the VAE, where the sound of a unit begins.
        words: token ids of the transcript; empty where the recording is a reference.
        silence: of no patches.
        beginning: of the prompts with this voice.
    """

    voice: PreparedVoice
    clip: Clip
    decoder: DecoderState
    words: Sequence[int]
    silence: Clip
    beginning: Beginning

    def prompt(self, text: str, target: Sequence[int], tokenizer: TextTokenizer) -> tuple[Prompt, int]:
        """The prompt that speaks `text`, alone the tokens `target`; how many positions it shares with `beginning`."""
        if not self.voice.text:
            return build_prompt(target, self.silence, reference=self.clip), len(self.beginning.prompt)
        # One text: the official loop joins them before it makes tokens, and so was the model trained. The transcript's
        # last tokens may come out otherwise than alone.
        joined = tokenizer.ids(self.voice.text + text)
        pairs = zip(self.words, joined, strict=False)
        shared = next((i for i, (one, other) in enumerate(pairs) if one != other), min(len(self.words), len(joined)))
        return build_prompt(joined, self.silence, continued=self.clip), shared

    @property
    def positions(self) -> int:
        """For which it takes memory."""
        return -(-len(self.beginning.prompt) // GROWTH_POSITIONS) * GROWTH_POSITIONS


class VoicePromptCache:
    """The voices used last, as many as have `most` positions together, and at least one. One thread at a time."""

    def __init__(self, model: VoxCPM, tokenizer: TextTokenizer, most: int = KEPT_POSITIONS) -> None:
        self._model, self._tokenizer, self._most = model, tokenizer, most
        self._by_id: OrderedDict[int, KnownVoice] = OrderedDict()  # an id is taken as long as its voice is in here

    def know(self, voice: PreparedVoice) -> KnownVoice:
        """The voice, from now on known; its beginning is read when a unit needs it."""
        known = self._by_id.pop(id(voice), None) or self._meet(voice)
        self._by_id[id(voice)] = known  # at the end, as the one used last
        while len(self._by_id) > 1 and sum(each.positions for each in self._by_id.values()) > self._most:
            self._by_id.popitem(last=False)
        return known

    def _meet(self, voice: PreparedVoice) -> KnownVoice:
        model = self._model
        clip = clip_of(voice, model)
        words = self._tokenizer.ids(voice.text) if voice.text else []
        silence = model.silence
        prompt = build_beginning(words, silence, None if voice.text else clip)
        beginning = Beginning(prompt, model.lm.new_caches(len(prompt)))
        return KnownVoice(voice, clip, decoder_of(voice, model), words, silence, beginning)
