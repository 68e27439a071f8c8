"""An LRU cache of the parts of a prompt that all units of a voice share, with their KV caches (prefix caching)."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from intone.server.domain import PreparedVoice
from intone.server.engines.voxcpm.audio_vae import DecoderState
from intone.server.engines.voxcpm.model import VoxCPM
from intone.server.engines.voxcpm.prompt import AudioPrompt, Prompt, build_prefix, build_prompt
from intone.server.engines.voxcpm.state import PromptPrefix
from intone.server.engines.voxcpm.text import TextTokenizer
from intone.server.engines.voxcpm.voice import audio_of, decoder_of
from intone.server.nn.kv_cache import GROWTH_POSITIONS

MAX_CACHED_POSITIONS = 2048
"""Cached positions of all voices together. In float32 a position takes 30 KiB in 0.5B, 32 in 1.5 and 72 in 2, so 2048
take 60, 64 and 144 MiB. A continued voice has one position per token of its transcript, a reference one per patch and
two more; both are counted, and allocated, in whole blocks of `GROWTH_POSITIONS`."""


@dataclass(frozen=True, slots=True)
class VoicePrompt:
    """A prepared voice on the model's device.

    Attributes:
        voice: the prepared voice.
        audio: its recording.
        decoder: the initial state of the VAE's decoder for a unit.
        transcript_ids: token ids of the transcript; empty for a reference.
        empty: an audio prompt without patches.
        prefix: the common prefix of prompts with this voice.
    """

    voice: PreparedVoice
    audio: AudioPrompt
    decoder: DecoderState
    transcript_ids: Sequence[int]
    empty: AudioPrompt
    prefix: PromptPrefix

    def prompt(self, text: str, target: Sequence[int], tokenizer: TextTokenizer) -> tuple[Prompt, int]:
        """The prompt for `text`, which alone has the tokens `target`; the number of positions shared with `prefix`."""
        if not self.voice.text:
            return build_prompt(target, self.empty, reference=self.audio), len(self.prefix.prompt)
        # Transcript and text are tokenized as one text, as in training and in the official loop, so the last tokens of
        # the transcript may differ from those of the transcript alone.
        joined = tokenizer.ids(self.voice.text + text)
        pairs = enumerate(zip(self.transcript_ids, joined, strict=False))
        shared_length = next(
            (i for i, (one, other) in pairs if one != other), min(len(self.transcript_ids), len(joined))
        )
        return build_prompt(joined, self.empty, continued=self.audio), shared_length

    @property
    def positions(self) -> int:
        """Positions that are allocated."""
        return -(-len(self.prefix.prompt) // GROWTH_POSITIONS) * GROWTH_POSITIONS


class VoicePromptCache:
    """The most recently used voices, up to `max_positions` positions in total, but at least one. Not thread-safe."""

    def __init__(self, model: VoxCPM, tokenizer: TextTokenizer, max_positions: int = MAX_CACHED_POSITIONS) -> None:
        self._model, self._tokenizer, self._max_positions = model, tokenizer, max_positions
        self._by_id: OrderedDict[int, VoicePrompt] = (
            OrderedDict()
        )  # an id is not reused while its voice is referenced here

    def get(self, voice: PreparedVoice) -> VoicePrompt:
        """The prompt of a voice, cached; its prefix cache is filled when a unit needs it."""
        prompt = self._by_id.pop(id(voice), None) or self._load(voice)
        self._by_id[id(voice)] = prompt  # at the end, as the most recently used
        while len(self._by_id) > 1 and sum(each.positions for each in self._by_id.values()) > self._max_positions:
            self._by_id.popitem(last=False)
        return prompt

    def _load(self, voice: PreparedVoice) -> VoicePrompt:
        model = self._model
        audio, empty = audio_of(voice, model), model.empty_audio
        transcript_ids = self._tokenizer.ids(voice.text) if voice.text else []
        prompt = build_prefix(transcript_ids, empty, None if voice.text else audio)
        return VoicePrompt(voice, audio, decoder_of(voice, model), transcript_ids, empty, PromptPrefix(prompt))
