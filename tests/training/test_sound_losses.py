"""Losses of the audio VAE's decoder: gradient balance, spectral losses, discriminators and initial weights."""

from dataclasses import replace

import pytest
import torch

from training import model_sizes, spectra
from training.balance import Balance
from training.begin import at_rates, with_more_latents
from training.discriminators import Jury
from training.shards import SOUND_HZ
from training.spectra import FLOOR, SoundDistance
from training.teacher import PLAIN_DELAY_S, PLAIN_PHASE, plain_phase
from training.vae import AudioVAE

SHARES = {"near": 1.0, "far": 0.5}


def losses(sound, scale):
    """Two losses with orthogonal gradients."""
    return {"near": sound[0] * scale, "far": 3 * sound[1]}


def test_gradient_of_a_loss_has_the_size_of_its_share():
    for scale in (1e-3, 1.0, 1e3):
        sound = torch.zeros(4, requires_grad=True)
        pull = Balance(SHARES).gradient(sound, losses(sound, scale))
        torch.testing.assert_close(pull, torch.tensor([1.0, 0.5, 0.0, 0.0]))


def test_balance_averages_gradient_sizes_over_steps():
    balance, sound = Balance(SHARES), torch.zeros(4, requires_grad=True)
    balance.gradient(sound, losses(sound, 1.0))
    pull = balance.gradient(sound, losses(sound, 2.0))  # twice the average size of this gradient
    torch.testing.assert_close(pull[:2], torch.tensor([2 / 1.01, 0.5]))
    assert balance.gradient(sound, {"far": 3 * sound[1]}).tolist() == [0, 0.5, 0, 0]  # with only one of the losses
    with pytest.raises(KeyError, match="unknown"):
        balance.gradient(sound, {"unknown": sound[0]})


def white(seed):
    return torch.randn(1, SOUND_HZ, generator=torch.Generator().manual_seed(seed))


def test_silence_does_not_dominate_the_gradient(monkeypatch):
    """Silent parts of the target get a small part of the gradient; with equal weights they get most."""
    quarter = torch.arange(SOUND_HZ) * 4 // SOUND_HZ
    wanted = torch.tensor([1e-1, 1e-2, 1e-3, 0.0])[quarter] * white(0)
    made = (0.7 * wanted + 1e-4 * white(1)).requires_grad_()

    def silent():
        (pull,) = torch.autograd.grad(SoundDistance(SOUND_HZ)(made, wanted)["spectra"], made)
        return float(pull[:, int(0.8 * SOUND_HZ) :].square().sum() / pull.square().sum())

    assert silent() < 0.2
    monkeypatch.setattr(spectra, "FULL_WEIGHT", FLOOR)
    assert silent() > 0.5


def test_quiet_parts_are_compared_down_to_the_floor():
    """The level of noise 70 dB below speech matters, but less than that of loud noise; below the floor it does not."""
    distance = SoundDistance(SOUND_HZ)

    def increase(level):
        exact, louder = (float(distance(factor * level * white(1), level * white(0))["spectra"]) for factor in (1, 4))
        return louder - exact

    below = FLOOR / 200  # white noise of level 1 has magnitudes around 20 in a window of 1024 samples
    assert increase(below) < 1e-3 < 3e-3 < increase(1e-4) < 0.2 * increase(1e-2)


def overtones(phase, level=1.0):
    seconds = torch.arange(SOUND_HZ) / SOUND_HZ
    return sum(0.05 * level / h * torch.sin(2 * torch.pi * 200 * h * seconds + phase * h) for h in (1, 2, 3))[None]


def test_phase_loss_does_not_reduce_the_amplitude():
    """The phase loss has no gradient along the amplitude at any phase difference; a squared error would reduce it."""
    distance, wanted = SoundDistance(SOUND_HZ), overtones(0.0)
    for phase in (0.0, 0.5, 1.5, 3.0):
        level = torch.ones(1, requires_grad=True)
        loss = distance.phase(overtones(phase) * level, wanted, wanted)
        (slope,) = torch.autograd.grad(loss, level)
        assert abs(float(slope)) < 0.01
    assert (
        float(distance.phase(overtones(0.0), wanted, wanted))
        < 1e-3
        < float(distance.phase(overtones(0.5), wanted, wanted))
    )


def test_phase_loss_counts_only_dominant_harmonics():
    distance, wanted = SoundDistance(SOUND_HZ), overtones(0.0)
    made = overtones(1.0)
    assert float(distance.phase(made, wanted, torch.zeros_like(wanted))) == 0
    whole, part = (float(distance.phase(made, wanted, size * wanted)) for size in (1.0, 0.5))
    assert part == pytest.approx(whole, rel=0.05)


def test_levels_loss_ignores_phase():
    distance, wanted = SoundDistance(SOUND_HZ), overtones(0.0)
    same, weaker = (float(distance(overtones(1.0, level), wanted)["levels"]) for level in (1.0, 0.5))
    assert same < 0.3 * weaker


def test_silence_loss_counts_only_where_the_target_is_silent():
    distance, silence = SoundDistance(SOUND_HZ), torch.zeros(1, SOUND_HZ)
    tick = torch.zeros(1, SOUND_HZ)
    tick[0, 100:110] = 1e-3
    assert float(distance(tick, silence)["silence"]) > 0 == float(distance(tick, overtones(0.0))["silence"])


def test_untrained_discriminators_respond_to_the_input():
    """The features and scores of untrained discriminators vary with the input instead of being nearly constant."""
    torch.manual_seed(0)
    sound = 0.1 * torch.randn(4, 8_000, generator=torch.Generator().manual_seed(1))
    jury = Jury(8)
    with torch.no_grad():
        for turn in range(3):
            for score, features in jury(sound, turn):
                assert all(0.2 < float(feature.std()) < 5 for feature in features)
                assert float(score.std()) > 0.1


def test_kernels_are_resampled_for_another_last_rate():
    """Resampling a kernel that is linear in time gives the same line at the new taps, except at its ends."""
    config = model_sizes.config_of("tiny").vae
    tensors = AudioVAE(replace(config, decoder_rates=(8, 8, 5, 2))).state_dict()
    line = (torch.arange(4) + 0.5).expand(tensors["decoder.model.5.block.1.weight_v"].shape).clone()
    tensors |= {"decoder.model.5.block.1.weight_v": line, "decoder.model.5.block.1.weight_g": _norm(line)}
    found = at_rates(tensors, (8, 8, 5, 2), (8, 8, 5, 3))
    AudioVAE(config).load_state_dict(found)
    taps = found["decoder.model.5.block.1.weight_v"][0, 0]
    torch.testing.assert_close(taps[1:-1], ((torch.arange(6) + 0.5) * 2 / 3)[1:-1])
    same = at_rates(tensors, (8, 8, 5, 2), (8, 8, 5, 2))
    assert all(torch.equal(same[name], tensor) for name, tensor in tensors.items())


def test_decoder_extended_by_latents_ignores_them_while_they_are_zero():
    """The extended decoder computes the same from the known latents, and responds to the new ones."""
    config = model_sizes.config_of("tiny").vae
    known = AudioVAE(replace(config, latent_dim=16), seed=1)
    extended = AudioVAE(config, seed=2)
    tensors = with_more_latents(known.state_dict(), extended.state_dict(), 16, config.latent_dim)
    extended.load_state_dict(tensors)
    latents = torch.randn(1, 16, 12, generator=torch.Generator().manual_seed(0))
    more = torch.zeros(1, config.latent_dim - 16, 12)
    with torch.no_grad():
        extended.decoder.model[0].bias[16:] = 0
        wanted = known.decoder(latents)
        torch.testing.assert_close(extended.decoder(torch.cat((latents, more), 1)), wanted, atol=1e-5, rtol=0)
        assert (extended.decoder(torch.cat((latents, more + 1), 1)) - wanted).abs().max() > 0.01 * wanted.abs().max()
        audio = 0.1 * torch.randn(1, 640 * 4, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(extended.encoder(audio)[0][:, :16], known.encoder(audio)[0], atol=1e-5, rtol=1e-4)
    other = {name: tensor[:1] for name, tensor in tensors.items()}  # differs in more than latents: unchanged
    assert all(torch.equal(other[name], t) for name, t in with_more_latents(other, tensors, 16, 24).items())


def _norm(weight):
    return torch.linalg.vector_norm(weight, dim=(1, 2), keepdim=True)


def test_plain_phase_is_that_of_a_constant_delay():
    phase = torch.pi * torch.tanh(torch.from_numpy(plain_phase(601))[:, 0])
    turned = torch.exp(1j * (phase - PLAIN_PHASE + 2 * torch.pi * PLAIN_DELAY_S * 20 * torch.arange(601)))
    torch.testing.assert_close(turned.real, torch.ones(601), atol=1e-3, rtol=0)
