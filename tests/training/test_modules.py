"""What is trained is what is served: the same weights give the same latents, sound, wishes and patches."""

from collections import Counter

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
from training.latents import Latents
from training.model import VoxCPM, Wishes
from training.objective import Objective, flow_times, unseen
from training.script import Script, places
from training.shards import SILENCE
from training.tokens import FIRST_SOUND
from training.vae import AudioVAE

CONFIG = model_sizes.config_of("tiny")
EXACT = 1e-5
TEXT = [5, 9, 40, 7]


@pytest.fixture(scope="module")
def vae():
    return AudioVAE(CONFIG.vae, seed=3)


@pytest.fixture(scope="module")
def model():
    """Norms that are not all ones and a stop head that is not all zeros, so that every tensor matters."""
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
    """The server's model of the same weights, in torch, float32."""
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
    """All of a sentence says its first token, or its last."""
    lengths = latents.starts.diff().tolist()
    places = [
        torch.full((length, 8), len(text) - 1 if last else 0) for text, length in zip(tokens, lengths, strict=True)
    ]
    return Script(tokens, torch.cat(places))


def worst(a, b):
    return float((a - b).abs().max())


def test_names_and_shapes_are_the_published_ones():
    for size in model_sizes.names():
        config = model_sizes.config_of(size)
        found = {name: tuple(t.shape) for name, t in VoxCPM(config).state_dict().items()}
        assert found == dict(tensor_shapes(config))
    assert {name: tuple(t.shape) for name, t in AudioVAE(CONFIG.vae).state_dict().items()} == vae_shapes(CONFIG.vae)


def test_nano_is_the_served_nano_and_small_enough():
    config = model_sizes.config_of("nano")
    shapes = [*tensor_shapes(config).values(), *vae_shapes(config.vae).values()]
    assert sum(torch.Size(shape).numel() for shape in shapes) <= 12e6
    assert config.trained and sizes.size_of(config) == "nano"
    assert model_sizes.patch_samples(config) / config.vae.sample_rate_hz == 0.16


def test_encoder_is_the_served_one(vae):
    served = ServedVAE(CONFIG.vae, Weights(vae.state_dict()))
    audio = 0.3 * torch.randn(2, 20 * served.hop_in_samples, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        mean, log_variance = vae.encoder(audio)
    assert worst(mean, served.encode(audio)) < EXACT
    assert log_variance.shape == mean.shape


def test_decoder_is_the_served_one(vae):
    served = ServedVAE(CONFIG.vae, Weights(vae.state_dict()))
    latents = torch.randn(2, CONFIG.latent_dim, 23, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        whole = vae.decoder(latents)
    state, pieces = served.initial_state(2), []
    for part in latents.split((1, 4, 18), dim=2):
        audio, state = served.decode(part, state)
        pieces.append(audio)
    assert worst(whole, torch.cat(pieces, 1)) < EXACT
    assert float(whole.abs().max()) > 0.01


@pytest.mark.parametrize("patches", [1, 7])
def test_wishes_are_the_served_ones(model, served, patches):
    """Read at once, as in training, and patch by patch, as in talk; two sequences of different lengths in one batch."""
    latents = latents_of(patches, 3)
    batch = collate([[0], [1]], script_of_tokens([TEXT, [8] * 9], latents), latents)
    with torch.no_grad():
        wishes = model.wishes(batch.tokens, batch.at, batch.patches)
        condition = model.condition(wishes)
        stops = model.stop_logits(wishes).argmax(1).bool()
    unit = served.prefill(build_prompt(TEXT, served.empty_audio), max_positions=60, steps=4)
    errors = []
    for number in range(patches):
        errors += [
            worst(unit.condition.base, wishes.base[number]),
            worst(unit.condition.residual, wishes.residual[number]),
        ]
        told = served.dit.condition(unit.condition.base[None], unit.condition.residual[None], unit.patch[None]).lm[0, 0]
        errors.append(worst(told, condition[number]))
        assert bool(served.should_stop([unit])[0]) == bool(stops[number])
        unit.patch = batch.patches[number]
        served.advance([unit])
    assert max(errors) < EXACT


@pytest.mark.parametrize("guidance", [None, 2.0])
def test_flow_is_the_served_one(model, served, guidance):
    """The server's solver against the same walk with the trained estimator."""
    before, noise = patches_of(3, seed=1), patches_of(3, seed=2)
    base, residual = (torch.randn(3, CONFIG.base.hidden, generator=torch.Generator().manual_seed(s)) for s in (3, 4))
    condition = served.dit.condition(base, residual, before)
    table = build_time_table(served.dit, 6, mean_mode=False)
    weight = None if guidance is None else torch.full((3,), guidance)
    wanted = solve(served.dit, noise, condition, weight, table)

    x, even = noise, torch.linspace(1, 0, 7)
    grid = (2 * even - 1 + torch.cos(torch.pi / 2 * even)).tolist()  # the first step stands still
    with torch.no_grad():
        wish = model.condition(Wishes(base, residual, torch.zeros(3, 2, 1)))
        for time, after in zip(grid[1:], grid[2:], strict=False):
            times = torch.full((3,), time)
            velocity = model.velocity(x, times, wish, before)
            if guidance is not None:
                plain = model.velocity(x, times, torch.zeros_like(wish), before)
                share = (velocity * plain).sum((1, 2), keepdim=True) / plain.square().sum((1, 2), keepdim=True)
                velocity = share * plain + guidance * (velocity - share * plain)
            x = x - (time - after) * velocity
    assert worst(x, wanted) < EXACT


def test_no_gradient_is_lost(model):
    """All tensors learn, the variance of the VAE and unused positions aside."""
    latents = latents_of(3, 2)
    batch = collate([[0, 1]], script_of_tokens([TEXT, TEXT], latents), latents)
    wishes = model.wishes(batch.tokens, batch.at, batch.patches)
    velocity = model.velocity(batch.patches, torch.full((5,), 0.5), model.condition(wishes), batch.patches)
    (velocity.square().mean() + model.stop_logits(wishes).square().mean()).backward()
    still = [name for name, tensor in model.named_parameters() if tensor.grad is None or not tensor.grad.abs().max()]
    model.zero_grad(set_to_none=True)
    assert not still


def test_what_is_padded_or_later_is_not_seen(model):
    """The wish for a patch depends on the text and on the patches before it only, in any company."""
    latents = latents_of(4, 6)
    both = collate([[0], [1]], script_of_tokens([TEXT, TEXT * 3], latents), latents)
    alone = collate([[0]], script_of_tokens([TEXT, TEXT], latents), latents)
    changed = both.patches.clone()
    changed[2:4] += 1.0
    with torch.no_grad():
        ours = model.wishes(both.tokens, both.at, both.patches).residual[:4]
        assert worst(ours, model.wishes(alone.tokens, alone.at, alone.patches).residual) < EXACT
        later = model.wishes(both.tokens, both.at, changed).residual[:4]
    assert worst(later[:3], ours[:3]) == 0
    assert worst(later[3], ours[3]) > 0.01


def test_joined_sentences_are_one_sequence():
    latents = latents_of(2, 3)
    batch = collate([[0, 1]], script_of_tokens([[5, 6], [7]], latents, last=True), latents)
    assert batch.tokens.tolist() == [[5, 6, 7, 101, *[0] * (ROUND_POSITIONS - 4)]]
    assert batch.at.tolist() == [4, 5, 6, 7, 8]
    assert batch.first.tolist() == [True, False, False, False, False]
    assert batch.last.tolist() == [False, False, False, False, True]
    assert batch.places[:, 0].tolist() == [1, 1, 2, 2, 2]
    assert worst(batch.patches, latents.patches.float()) == 0


def test_a_plan_shows_every_sentence_once_in_batches_of_like_length():
    lengths = tuple(torch.randint(4, 90, (200,), generator=torch.Generator().manual_seed(0)).tolist())
    plan = Plan((lengths,), batch=8, joined_share=0.5, seed=1)
    seen = [sentence for step in range(25) for group in plan.groups(step) for sentence in group]
    assert sorted(seen) == list(range(200))
    spread = [max(lengths[i] for i in batch) - min(lengths[i] for i in batch) for batch in plan.epoch(0)]
    assert max(spread) < 20
    assert plan.groups(3) == Plan((lengths,), 8, 0.5, 1).groups(3) != plan.groups(28)
    assert {len(group) for step in range(25) for group in plan.groups(step)} == {1, 2}


def test_languages_have_equal_parts_in_a_plan():
    plan = Plan(((9,) * 60, (7,) * 20), batch=8, joined_share=0.0, seed=0)
    assert plan.steps_per_epoch == 15
    seen = Counter(sentence for step in range(15) for (sentence,) in plan.groups(step))
    assert seen == {**dict.fromkeys(range(60), 1), **dict.fromkeys(range(60, 80), 3)}


def test_times_cover_the_solvers_grid():
    times = flow_times(20_000, torch.Generator().manual_seed(0), torch.device("cpu"))
    assert times.min() >= 0 and times.max() <= 1
    assert 0.03 < float((times > 0.9).float().mean()) < 0.12


def test_the_second_teacher_fades():
    objective = Objective(floor=0.25, teacher_steps=100)
    assert [objective.teacher_weight_at(step) for step in (0, 50, 100, 900)] == [1.0, 0.625, 0.25, 0.25]


def test_places_follow_the_order_of_the_text():
    """Equal sounds are told apart by what was said before; silence belongs to the last one; one may be missing."""
    tokens = [FIRST_SOUND + sound for sound in (7, 8, 7, 9, 7, 5)]
    labels = np.array([SILENCE, 7, 7, 8, SILENCE, 7, 7, 7, 9, 5, 5, SILENCE], np.uint8)
    assert places(tokens, labels).tolist() == [0, 0, 0, 1, 1, 2, 2, 2, 3, 5, 5, 5]


def test_the_teacher_has_two_heads_look_where_the_speech_is(model):
    """What no head looks at costs; what all look at costs nothing."""
    latents = latents_of(2)
    batch = collate([[0]], script_of_tokens([TEXT], latents), latents)
    with torch.no_grad():
        looks = model.wishes(batch.tokens, batch.at, batch.patches).looks
    assert looks.shape == (2, 2, ROUND_POSITIONS)
    assert worst(looks.sum(2), torch.ones(2, 2)) < EXACT and float(looks[0, :, len(TEXT) + 1 :].max()) == 0
    assert float(unseen(torch.eye(8)[:2].unsqueeze(1), torch.tensor([[0, 0], [1, 1]]))) == 0
    assert float(unseen(torch.eye(8)[:2].unsqueeze(1), torch.tensor([[3, 4], [5, 5]]))) > 10


def test_every_sound_is_a_token_and_no_reserved_one():
    """The tokens of a text are the sounds that the teacher would say, numbered as its labels are."""
    hibari = pytest.importorskip("hibari")
    from training.tokens import sounds, text_tokenizer

    voice = hibari.Hibari()
    tokenizer = text_tokenizer("en")
    for text in ("He said it, twice: “No.”", "The cat sat."):
        (line,) = voice.phonemize(text)
        assert tokenizer.ids(text) == [FIRST_SOUND + sound for sound in voice.ids(line)[1:-1]]
    assert tokenizer.ids("你好") == [] == tokenizer.ids("…")
    ids = sounds().get_vocab().values()
    assert FIRST_SOUND > 104 and FIRST_SOUND + max(voice.vocab.values()) == max(ids) < CONFIG.vocabulary
