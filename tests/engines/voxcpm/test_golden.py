"""VoxCPM against the official package, with shared random weights, in float32."""

import itertools
import math
import types
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from intone.server.domain import SpeakRequest, SynthesisOptions
from intone.server.engines.pieces import complete
from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.engine import VoxCPMEngine
from intone.server.engines.voxcpm.flow import build_time_table, solve
from intone.server.engines.voxcpm.local_dit import Condition
from intone.server.engines.voxcpm.noise import patch_noise
from intone.server.engines.voxcpm.prompt import AudioPrompt, Prompt, build_prompt
from intone.server.engines.voxcpm.state import VoxCPMState
from intone.server.engines.voxcpm.voice import warm_decoder
from tests.oracles import voxcpm_oracle as oracle
from tests.support.voxcpm_tiny import tiny_checkpoint, tiny_model

pytestmark = pytest.mark.usefixtures("no_gradients")

CLOSE = 1e-5
"""Relative to the largest value; float32 sums in another order differ by a few 1e-7."""

CLOSE_END_TO_END = 1e-4
"""Errors feed back over a dozen patches."""


@pytest.fixture(scope="module")
def package(require: Callable[..., Any]) -> Iterator[types.SimpleNamespace]:
    require("oracle", oracle.installed(), "no official package: pip install --no-deps -r tests/oracles/voxcpm.txt")
    with oracle.official() as found:
        yield found


class Pair:
    """Our model and the official one, with the same weights."""

    def __init__(self, package: types.SimpleNamespace, version: int, seed: int = 0) -> None:
        self.checkpoint = tiny_checkpoint(version, seed)
        self.config = self.checkpoint.config
        self.ours = tiny_model(self.checkpoint)
        self.theirs = oracle.official_model(package, self.checkpoint)
        self.engine = VoxCPMEngine(self.ours, sizes.byte_tokenizer(), "tiny", self.checkpoint.fingerprint)

    def clip(self, patches: int, seed: int) -> AudioPrompt:
        shape = (patches, self.config.patch_frames, self.config.latent_dim)
        latents = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        return AudioPrompt(latents, self.ours.encoder(latents))


@pytest.fixture(scope="module", params=[1, 2], ids=["v1", "v2"])
def pair(request: pytest.FixtureRequest, package: types.SimpleNamespace) -> Pair:
    return Pair(package, request.param)


def assert_close(ours: Tensor, theirs: Tensor, limit: float = CLOSE) -> None:
    assert ours.shape == theirs.shape
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    assert error <= limit, f"largest error {error:.2e} of the largest value, limit {limit:.0e}"


def test_prefill_and_steps_of_both_language_models(pair: Pair) -> None:
    generator = torch.Generator().manual_seed(1)
    for ours, theirs in ((pair.ours.lm.base, pair.theirs.base_lm), (pair.ours.lm.residual, pair.theirs.residual_lm)):
        x = torch.randn(90, pair.config.base.hidden, generator=generator)
        whole, _ = theirs(inputs_embeds=x.unsqueeze(0), is_causal=True)
        cache = ours.new_cache(limit=90)
        assert_close(ours.prefill(x[:60], cache), whole[0, :60])
        rows = [ours.step(x[i : i + 1], [cache]) for i in range(60, 90)]  # past a reallocation at 64
        assert_close(torch.cat(rows), whole[0, 60:])
        theirs.kv_cache.fill_caches(theirs(inputs_embeds=x[None, :60], is_causal=True)[1])
        assert_close(rows[0], theirs.forward_step(x[60:61], torch.tensor([theirs.kv_cache.step()])))


def test_the_last_rows_of_a_prefill_equal_those_of_all_rows(pair: Pair) -> None:
    stack = pair.ours.lm.residual
    x = torch.randn(20, pair.config.base.hidden, generator=torch.Generator().manual_seed(2))
    whole = stack.prefill(x, stack.new_cache(20))
    assert_close(stack.prefill(x, stack.new_cache(20), first=17), whole[17:], 1e-6)


def test_local_encoder(pair: Pair) -> None:
    clip = pair.clip(9, seed=3)
    theirs = pair.theirs.enc_to_lm_proj(pair.theirs.feat_encoder(clip.latents.unsqueeze(0)))[0]
    assert_close(clip.embeddings, theirs)


def test_local_dit(pair: Pair) -> None:
    generator = torch.Generator().manual_seed(4)
    dit, hidden = pair.ours.dit, pair.config.local_dit.hidden
    x, previous = torch.randn(2, 3, pair.config.patch_frames, pair.config.latent_dim, generator=generator)
    lm = torch.randn(3, 2 if pair.config.version == 2 else 1, hidden, generator=generator)
    time = torch.tensor([0.7])
    condition = Condition(lm, dit.previous_in(previous))
    ours = dit.velocity(x, condition, dit.time_embeddings(time, torch.zeros(1))[0])
    theirs = pair.theirs.feat_decoder.estimator(
        x.transpose(1, 2), lm.flatten(1), time.expand(3), previous.transpose(1, 2), torch.zeros(3)
    )
    assert_close(ours, theirs.transpose(1, 2))


@pytest.mark.parametrize("steps", [1, 4, 6, 10, 50])
@pytest.mark.parametrize("guidance", [1.0, 2.0, 3.0])
def test_flow(pair: Pair, steps: int, guidance: float) -> None:
    generator = torch.Generator().manual_seed(5)
    config, dit = pair.config, pair.ours.dit
    base, residual = torch.randn(2, 3, config.base.hidden, generator=generator)
    noise, previous = torch.randn(2, 3, config.patch_frames, config.latent_dim, generator=generator)
    table = build_time_table(dit, steps, config.mean_mode)
    assert len(table.lengths) == steps - max(1, int(0.04 * (steps + 1)))
    weights = None if guidance == 1.0 else torch.full((3,), guidance)
    ours = solve(dit, noise, dit.condition(base, residual, previous), weights, table)
    parts = [pair.theirs.lm_to_dit_proj(base), pair.theirs.res_to_dit_proj(residual)]
    mu = torch.cat(parts, dim=-1) if config.version == 2 else parts[0] + parts[1]
    grid = torch.linspace(1, 0, steps + 1)
    theirs = pair.theirs.feat_decoder.solve_euler(
        x=noise.transpose(1, 2),
        t_span=grid + (torch.cos(torch.pi / 2 * grid) - 1 + grid),
        mu=mu,
        cond=previous.transpose(1, 2).contiguous(),
        cfg_value=guidance,
    )
    assert_close(ours, theirs.transpose(1, 2))


def test_mean_mode_embeds_step_sizes(pair: Pair) -> None:
    dit = pair.ours.dit
    estimator = pair.theirs.feat_decoder.estimator
    times, lengths = torch.tensor([0.9, 0.4]), torch.tensor([0.1, 0.3])
    theirs = estimator.time_mlp(estimator.time_embeddings(times)) + estimator.delta_time_mlp(
        estimator.time_embeddings(lengths)
    )
    assert_close(dit.time_embeddings(times, lengths), theirs)


def test_quantizer(pair: Pair) -> None:
    hidden = torch.randn(500, pair.config.base.hidden, generator=torch.Generator().manual_seed(6))
    assert_close(pair.ours.lm.quantize(hidden), pair.theirs.fsq_layer(hidden))


def prompts(pair: Pair) -> dict[str, tuple[Prompt, AudioPrompt, AudioPrompt]]:
    """Layout → our prompt, all audio in it, and the continued audio."""
    none, text = pair.ours.empty_audio, sizes.byte_tokenizer().ids("How are you?")
    reference, continued = pair.clip(5, seed=7), pair.clip(7, seed=8)
    both = AudioPrompt(
        torch.cat((reference.latents, continued.latents)), torch.cat((reference.embeddings, continued.embeddings))
    )
    found = {
        "zero-shot": (build_prompt(text, none), none, none),
        "continuation": (build_prompt(text, none, continued=continued), continued, continued),
    }
    if pair.config.version == 2:
        found["reference"] = (build_prompt(text, none, reference=reference), reference, none)
        found["combined"] = (build_prompt(text, none, reference=reference, continued=continued), both, continued)
    return found


def speak(pair: Pair, prompt: Prompt, continued: AudioPrompt, max_patches: int) -> tuple[Tensor, Tensor, bool]:
    """Latents `[N, P, D]`, audio `[T]`, and whether it was cut."""
    vae = pair.ours.vae
    state = VoxCPMState(
        prompt=prompt,
        seed=77,
        steps=6,
        guidance=2.0,
        earliest_end=3,
        max_patches=max_patches,
        decoder=complete(warm_decoder(pair.ours, continued)) if len(continued) else vae.initial_state(),
    )
    latents: list[Tensor] = []
    audio: list[Tensor] = []
    while not state.done:
        step = pair.engine.step([state])[0]
        audio.append(torch.from_numpy(step.pcm))
        if state.made > len(latents):
            assert state.generation is not None
            latents.append(state.generation.patch)
    return torch.stack(latents), torch.cat(audio), state.cut


def official_latents(pair: Pair, prompt: Prompt, heard: AudioPrompt, context: int, max_patches: int) -> Tensor:
    shape = (pair.config.patch_frames, pair.config.latent_dim)
    noise = (torch.from_numpy(patch_noise(77, i, math.prod(shape))).view(shape) for i in itertools.count())
    given = oracle.official_input(prompt, heard.latents)
    with oracle.given_noise(noise):
        answer = pair.theirs.inference(**given, min_len=2, max_len=max_patches, inference_timesteps=6, cfg_value=2.0)
    return answer[1][context:]


LAYOUTS = {1: ("zero-shot", "continuation"), 2: ("zero-shot", "continuation", "reference", "combined")}


@pytest.mark.parametrize(("version", "layout"), [(v, layout) for v, layouts in LAYOUTS.items() for layout in layouts])
def test_whole_generation(package: types.SimpleNamespace, version: int, layout: str) -> None:
    ends = set()
    for seed in (0, 1, 2, 3, 4, 5):
        pair = Pair(package, version, seed)
        prompt, heard, continued = prompts(pair)[layout]
        latents, audio, cut = speak(pair, prompt, continued, max_patches=12)
        context = min(2, len(continued)) if version == 1 else 0  # version 1 also returns the decoder's context
        theirs = official_latents(pair, prompt, heard, context, max_patches=12)
        assert_close(latents, theirs.squeeze(0), CLOSE_END_TO_END)
        ends.add(cut)
        whole = torch.cat((continued.latents, theirs.squeeze(0))).flatten(0, 1).T.unsqueeze(0)
        sound = pair.theirs.audio_vae.decode(whole)[0, 0]
        heard_before = len(continued) * pair.config.patch_frames * pair.ours.vae.hop_out_samples
        assert_close(audio, sound[heard_before:], CLOSE_END_TO_END)
    assert ends == {True, False}, "the seeds must show both an end by the stop head and one by the limit"


def test_temperature(package: types.SimpleNamespace) -> None:
    pair = Pair(package, 1)
    prompt, heard, continued = prompts(pair)["zero-shot"]
    usual, *_ = speak(pair, prompt, continued, max_patches=6)
    pair.ours.config = replace(pair.config, temperature=0.6)
    pair.theirs.feat_decoder.forward = partial(pair.theirs.feat_decoder.forward, temperature=0.6)
    latents, *_ = speak(pair, prompts(pair)["zero-shot"][0], continued, max_patches=6)
    assert_close(latents, official_latents(pair, prompt, heard, 0, max_patches=6).squeeze(0), CLOSE_END_TO_END)
    assert not torch.equal(latents[0], usual[0])


def test_recordings_are_encoded_as_officially(pair: Pair) -> None:
    vae = pair.ours.vae
    audio = 0.3 * torch.randn(10 * 4 * vae.hop_in_samples, generator=torch.Generator().manual_seed(9))
    theirs = pair.theirs.audio_vae.encode(audio.unsqueeze(0), pair.config.vae.sample_rate_hz)
    theirs = theirs.view(pair.config.latent_dim, -1, pair.config.patch_frames).permute(1, 2, 0)
    assert_close(complete(pair.ours.embed_audio(audio)).latents, theirs)


def test_engine_takes_the_official_number_of_patches_for_a_request(pair: Pair) -> None:
    request = SpeakRequest("Hm.", seed=77, options=SynthesisOptions(parameters={"steps": 6}))
    state = pair.engine.start(request)
    assert state.prompt is not None
    prompt, limit = state.prompt, state.max_patches
    assert limit == 6 * 3 + 10
    while not state.done:
        pair.engine.step([state])
    assert state.made == official_latents(pair, prompt, pair.ours.empty_audio, 0, limit).squeeze(0).shape[0]


def test_chinese_tokens_are_split_as_officially(package: types.SimpleNamespace) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["<unk>", "你", "好", "你好", "▁你好", "世界", "▁", "▁ab", "ab", "c", "世", "大家", "好c", "▁▁你好"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()

    class Base:
        vocab = tokenizer.get_vocab()

        def tokenize(self, text: str) -> list[str]:
            return tokenizer.encode(text).tokens

        def convert_tokens_to_ids(self, tokens: list[str]) -> list[int]:
            return [self.vocab.get(token, 0) for token in tokens]

    from intone.server.engines.voxcpm.text import TextTokenizer

    ours, theirs = TextTokenizer(tokenizer, 0), package.text.mask_multichar_chinese_tokens(Base())
    for count in (1, 2, 3):
        for chosen in itertools.product(words, repeat=count):
            text = " ".join(chosen)
            assert ours.ids(text) == theirs(text), text
    assert ours.ids("大家") == [0, 0]  # no entry for either character, and no byte fallback
