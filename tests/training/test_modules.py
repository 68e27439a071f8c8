"""Training modules against the server's: equal weights give equal outputs. Batching, losses, alignment and tokens."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from intone.server.engines.voxcpm import sizes
from intone.server.engines.voxcpm.audio_vae import AudioVAE as ServedVAE
from intone.server.engines.voxcpm.audio_vae import tensor_shapes as vae_shapes
from intone.server.engines.voxcpm.flow import build_time_table, solve
from intone.server.engines.voxcpm.model import VoxCPM as ServedVoxCPM
from intone.server.engines.voxcpm.prompt import build_prompt
from intone.server.engines.voxcpm.weights import Checkpoint, tensor_shapes
from intone.server.engines.weights import Weights
from training import model_sizes
from training.batches import ROUND_POSITIONS, Plan, collate
from training.distil import Flow, solver_times
from training.latents import Latents
from training.model import HiddenStates, VoxCPM
from training.objective import Lesson, Objective, alignment_loss, flow_times
from training.script import MAX_REPEATS, NOT_REPEATED, Script, align, repeats, script_of, separators
from training.shards import SILENCE
from training.tokens import FIRST_PHONEME_TOKEN, text_tokenizer
from training.vae import AudioVAE

CONFIG = model_sizes.config_of("tiny")
EXACT = 1e-5
TEXT = [5, 9, 40, 7]


@pytest.fixture(scope="module")
def vae():
    return AudioVAE(CONFIG.vae, seed=3)


@pytest.fixture(scope="module")
def model():
    """Norms differ from one and the stop head from zero, so that every tensor affects the outputs."""
    made = VoxCPM(CONFIG, seed=4)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, tensor in made.named_parameters():
            if name.endswith("norm.weight"):
                tensor.add_(0.2 * torch.randn(tensor.shape, generator=generator))
        made.stop_head.weight.copy_(torch.randn(made.stop_head.weight.shape, generator=generator))
    return made


@pytest.fixture(scope="module")
def served(model, vae):
    """The server's torch implementation in float32 with the same weights."""
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    checkpoint = Checkpoint(CONFIG, state, {name: t.detach().clone() for name, t in vae.state_dict().items()}, "x")
    return ServedVoxCPM(checkpoint, torch.float32, torch.device("cpu"))


def patches_of(count, seed=0):
    shape = (count, CONFIG.patch_frames, CONFIG.latent_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def latents_of(*counts):
    total = sum(counts)
    starts = torch.tensor([0, *counts]).cumsum(0)
    labels = torch.arange(total * 8).view(total, 8).remainder(178).to(torch.uint8)
    return Latents(patches_of(total).half(), labels, starts, torch.arange(len(counts)))


def script_of_tokens(tokens, latents, last=False):
    """Every label is aligned to the first token of its sentence, or to the last."""
    lengths = latents.starts.diff().tolist()
    alignment = [
        torch.full((length, 8), len(text) - 1 if last else 0) for text, length in zip(tokens, lengths, strict=True)
    ]
    return Script(tokens, torch.cat(alignment), torch.full((len(latents.patches), 8), NOT_REPEATED))


def max_error(a, b):
    return float((a - b).abs().max())


def test_tensor_names_and_shapes_are_those_of_published_checkpoints():
    for size in model_sizes.names():
        config = model_sizes.config_of(size)
        found = {name: tuple(t.shape) for name, t in VoxCPM(config).state_dict().items()}
        assert found == dict(tensor_shapes(config))
    assert {name: tuple(t.shape) for name, t in AudioVAE(CONFIG.vae).state_dict().items()} == vae_shapes(CONFIG.vae)


def test_nano_size_is_recognized_and_small_enough():
    config = model_sizes.config_of("nano")
    shapes = [*tensor_shapes(config).values(), *vae_shapes(config.vae).values()]
    assert sum(torch.Size(shape).numel() for shape in shapes) <= 12e6
    assert config.trained and sizes.size_of(config) == "nano"
    assert model_sizes.patch_samples(config) / config.vae.sample_rate_hz == 0.16


def test_encoder_matches_the_server(vae):
    served = ServedVAE(CONFIG.vae, Weights(vae.state_dict()))
    audio = 0.3 * torch.randn(2, 20 * served.hop_in_samples, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean, log_variance = vae.encoder(audio)
    assert max_error(mean, served.encode(audio)) < EXACT
    assert log_variance.shape == mean.shape


def test_decoder_matches_the_server(vae):
    served = ServedVAE(CONFIG.vae, Weights(vae.state_dict()))
    latents = torch.randn(2, CONFIG.latent_dim, 23, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = vae.decoder(latents)
    state, pieces = served.initial_state(2), []
    for part in latents.split((1, 4, 18), dim=2):
        audio, state = served.decode(part, state)
        pieces.append(audio)
    assert max_error(whole, torch.cat(pieces, 1)) < EXACT
    assert float(whole.abs().max()) > 0.01


@pytest.mark.parametrize("patches", [1, 7])
def test_language_models_match_the_server(model, served, patches):
    """A batch of two whole sequences of different lengths, against the server's prefill and decoding patch by patch."""
    latents = latents_of(patches, 3)
    batch = collate([[0], [1]], script_of_tokens([TEXT, [8] * 9], latents), latents)
    with torch.no_grad():
        hidden = model.hidden_states(batch.tokens, batch.positions, batch.patches)
        condition = model.condition(hidden)
        stops = model.stop_logits(hidden).argmax(1).bool()
    unit = served.prefill(build_prompt(TEXT, served.empty_audio), max_positions=60, steps=4)
    errors = []
    for number in range(patches):
        errors += [
            max_error(unit.condition.base, hidden.base[number]),
            max_error(unit.condition.residual, hidden.residual[number]),
        ]
        projected = served.dit.condition(unit.condition.base[None], unit.condition.residual[None], unit.patch[None]).lm[
            0, 0
        ]
        errors.append(max_error(projected, condition[number]))
        assert bool(served.should_stop([unit])[0]) == bool(stops[number])
        unit.patch = batch.patches[number]
        served.advance([unit])
    assert max(errors) < EXACT


@pytest.mark.parametrize("guidance", [None, 2.0])
def test_flow_decoder_matches_the_server(model, served, guidance):
    """The server's solver against the same integration with the training estimator."""
    previous, noise = patches_of(3, seed=1), patches_of(3, seed=2)
    base, residual = (torch.randn(3, CONFIG.base.hidden, generator=torch.Generator().manual_seed(s)) for s in (3, 4))
    condition = served.dit.condition(base, residual, previous)
    table = build_time_table(served.dit, 6, mean_mode=False)
    weight = None if guidance is None else torch.full((3,), guidance)
    expected = solve(served.dit, noise, condition, weight, table)

    with torch.no_grad():
        projected = model.condition(HiddenStates(base, residual, torch.zeros(3, 2, 1)))
        flow = Flow(model.feat_decoder.estimator, projected, previous)
        x = flow.solve(noise, solver_times(6), guidance or 1.0)
    assert max_error(x, expected) < EXACT


def test_every_parameter_has_a_gradient(model):
    latents = latents_of(3, 2)
    batch = collate([[0, 1]], script_of_tokens([TEXT, TEXT], latents), latents)
    hidden = model.hidden_states(batch.tokens, batch.positions, batch.patches)
    velocity = model.velocity(batch.patches, torch.full((5,), 0.5), model.condition(hidden), batch.patches)
    (velocity.square().mean() + model.stop_logits(hidden).square().mean()).backward()
    without_gradient = [
        name for name, tensor in model.named_parameters() if tensor.grad is None or not tensor.grad.abs().max()
    ]
    model.zero_grad(set_to_none=True)
    assert not without_gradient


def test_hidden_states_do_not_depend_on_padding_or_later_patches(model):
    """The states that predict a patch depend only on the text and the preceding patches of the same sequence."""
    latents = latents_of(4, 6)
    both = collate([[0], [1]], script_of_tokens([TEXT, TEXT * 3], latents), latents)
    alone = collate([[0]], script_of_tokens([TEXT, TEXT], latents), latents)
    changed = both.patches.clone()
    changed[2:4] += 1.0
    with torch.no_grad():
        batched = model.hidden_states(both.tokens, both.positions, both.patches).residual[:4]
        single = model.hidden_states(alone.tokens, alone.positions, alone.patches).residual
        assert max_error(batched, single) < EXACT
        after_change = model.hidden_states(both.tokens, both.positions, changed).residual[:4]
    assert max_error(after_change[:3], batched[:3]) == 0
    assert max_error(after_change[3], batched[3]) > 0.01


def test_paired_sentences_share_a_sequence():
    latents = latents_of(2, 3)
    batch = collate([[0, 1]], script_of_tokens([[5, 6], [7]], latents, last=True), latents)
    assert batch.tokens.tolist() == [[5, 6, 7, 101, *[0] * (ROUND_POSITIONS - 4)]]
    assert batch.positions.tolist() == [4, 5, 6, 7, 8]
    assert batch.first.tolist() == [True, False, False, False, False]
    assert batch.last.tolist() == [False, False, False, False, True]
    assert batch.alignment[:, 0].tolist() == [1, 1, 2, 2, 2]
    assert max_error(batch.patches, latents.patches.float()) == 0


def test_an_epoch_has_every_sentence_once_in_batches_of_similar_length():
    lengths = tuple(torch.randint(4, 90, (200,), generator=torch.Generator().manual_seed(0)).tolist())
    plan = Plan((lengths,), batch=8, joined_share=0.5, seed=1)
    seen = [sentence for step in range(25) for group in plan.groups(step) for sentence in group]
    assert sorted(seen) == list(range(200))
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in plan.epoch(0)]
    assert max(spread) < 20
    assert plan.groups(3) == Plan((lengths,), 8, 0.5, 1).groups(3) != plan.groups(28)
    assert {len(group) for step in range(25) for group in plan.groups(step)} == {1, 2}


def test_languages_are_sampled_equally():
    plan = Plan(((9,) * 60, (7,) * 20), batch=8, joined_share=0.0, seed=0)
    assert plan.steps_per_epoch == 15
    seen = Counter(sentence for step in range(15) for (sentence,) in plan.groups(step))
    assert seen == {**dict.fromkeys(range(60), 1), **dict.fromkeys(range(60, 80), 3)}


def test_flow_times_have_mass_near_noise():
    times = flow_times(20_000, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert times.min() >= 0 and times.max() <= 1
    assert 0.03 < float((times > 0.9).float().mean()) < 0.12


def test_auxiliary_losses_decay_to_the_floor():
    objective = Objective(floor=0.25, teacher_steps=100)
    assert [objective.auxiliary_scale(step) for step in (0, 50, 100, 900)] == [1.0, 0.625, 0.25, 0.25]


def test_alignment_follows_the_order_of_the_text():
    """Repeated phonemes are told apart by order. Silence belongs to the preceding phoneme. A phoneme may be skipped."""
    tokens = [FIRST_PHONEME_TOKEN + phoneme for phoneme in (7, 8, 7, 9, 7, 5)]
    labels = np.array([SILENCE, 7, 7, 8, SILENCE, 7, 7, 7, 9, 5, 5, SILENCE], np.uint8)
    assert align(tokens, labels).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 5, 5, 5]


def test_repeated_words_are_counted():
    """Words that differ from both neighbours are not; punctuation and blanks do not interrupt a repetition."""
    between, tones = {0}, {9}
    tokens = [5, 6, 0, 5, 6, 0, 0, 5, 6, 0, 7, 0, 5]
    none = NOT_REPEATED
    assert repeats(tokens, between, tones).tolist() == [0, 0, none, 1, 1, none, none, 2, 2, none, none, none, none]
    syllables = [5, 9, 5, 9, 6, 9]  # two equal syllables within one word
    assert repeats(syllables, between, tones).tolist() == [0, 0, 1, 1, none, none]
    assert repeats([5, 0] * 12, between, tones).max() == MAX_REPEATS
    assert repeats([], between, tones).tolist() == []


def test_repeated_digits_of_a_text_are_counted():
    """ "five" is spoken in the first three patches; each knows how many times it has been said."""
    text = "Five, five, five, six."
    tokens = text_tokenizer("en").ids(text)
    said = repeats(tokens, *separators())
    assert set(said.tolist()) == {0, 1, 2, NOT_REPEATED}
    phonemes = [token - FIRST_PHONEME_TOKEN for token, count in zip(tokens, said, strict=True) if count == 0]
    labels = torch.full((4, 8), SILENCE, dtype=torch.uint8)
    labels[:3, : len(phonemes)] = torch.tensor(phonemes, dtype=torch.uint8)
    latents = Latents(patches_of(4).half(), labels, torch.tensor([0, 4]), torch.zeros(1, dtype=torch.int64))
    found = script_of([text], latents, "en")
    assert found.repeats[:3, 1].tolist() == [0, 1, 2]


def test_counting_loss_considers_repeated_words_only(model):
    lesson, objective = Lesson(model, 8), Objective()
    latents = latents_of(3)
    script = script_of_tokens([TEXT], latents)

    def found(count):
        repeated = torch.full((3, 8), NOT_REPEATED)
        repeated[1, 2] = count
        batch = collate([[0]], replace(script, repeats=repeated), latents)
        return lesson.losses(batch, objective, torch.Generator().manual_seed(0))

    with torch.no_grad():
        lesson.counts.weight.zero_()
        lesson.counts.bias.view(8, -1)[2, 3] = 20.0  # the probe always answers 3
        right, wrong, without = found(3), found(1), found(NOT_REPEATED)
    assert float(right["counts"]) < 1e-3 and float(right["counts_right"]) == 1
    assert float(wrong["counts"]) > 10 and float(wrong["counts_right"]) == 0
    assert float(without["counts"]) == 0


def test_alignment_loss_is_low_where_attention_is_on_the_aligned_tokens(model):
    """Two attention maps are returned, normalized and causal; full attention on the aligned tokens has zero loss."""
    latents = latents_of(2)
    batch = collate([[0]], script_of_tokens([TEXT], latents), latents)
    with torch.no_grad():
        attention = model.hidden_states(batch.tokens, batch.positions, batch.patches).attention
    assert attention.shape == (2, 2, ROUND_POSITIONS)
    assert max_error(attention.sum(2), torch.ones(2, 2)) < EXACT and float(attention[0, :, len(TEXT) + 1 :].max()) == 0
    assert float(alignment_loss(torch.eye(8)[:2].unsqueeze(1), torch.tensor([[0, 0], [1, 1]]))) == 0
    assert float(alignment_loss(torch.eye(8)[:2].unsqueeze(1), torch.tensor([[3, 4], [5, 5]]))) > 10


def test_phonemes_map_to_unreserved_tokens():
    """The tokens of a text are the teacher's phonemes for it, with its numbering."""
    hibari = pytest.importorskip("hibari")
    from training.tokens import phoneme_tokenizer, text_tokenizer

    voice = hibari.Hibari()
    tokenizer = text_tokenizer("en")
    for text in ("He said it, twice: “No.”", "The cat sat."):
        (line,) = voice.phonemize(text)
        assert tokenizer.ids(text) == [FIRST_PHONEME_TOKEN + phoneme for phoneme in voice.ids(line)[1:-1]]
    assert tokenizer.ids("你好") == [] == tokenizer.ids("…")
    ids = phoneme_tokenizer().get_vocab().values()
    assert FIRST_PHONEME_TOKEN > 104 and FIRST_PHONEME_TOKEN + max(voice.vocab.values()) == max(ids) < CONFIG.vocabulary
