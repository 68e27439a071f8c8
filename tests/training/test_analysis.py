"""Analysis of speech into latents: phase pointer, pitch and spectral components; the phase-aware sound distance."""

import numpy as np
import pytest
import torch

from training import model_sizes, source
from training.analysis import (
    BANDS,
    DETAIL_BANDS,
    PITCH_NUMBERS,
    POINTER,
    POINTS,
    SOUND_SAMPLES,
    Basis,
    Detail,
    fine_spectra,
    latents_of,
    pitch_numbers,
    spectra,
)
from training.shards import POINT_SAMPLES, RATE_HZ, SOUND_HZ
from training.spectra import SoundDistance
from training.teacher import PITCH_SAMPLES, TEACHER_HZ, pitch_at
from training.vae import AudioVAE


def tone(pitch_hz, points, phase=0.0):
    time = (torch.arange(points * POINT_SAMPLES)) / RATE_HZ
    middles = time[POINT_SAMPLES // 2 :: POINT_SAMPLES].double()
    pitch = torch.stack((torch.full_like(middles, pitch_hz), (pitch_hz * middles + phase) % 1), 1)
    return 0.2 * torch.cos(2 * torch.pi * (pitch_hz * time + phase)), pitch.float()


def test_phase_pointer_follows_the_waveform():
    """Its first coordinate is the waveform at each point. Pitch is given twice per frame. Silence is all zeros."""
    audio, pitch = tone(230.0, 40, phase=0.3)
    numbers = pitch_numbers(pitch)
    assert numbers.shape == (10, PITCH_NUMBERS)
    pointers = numbers[:, : 2 * POINTS].reshape(-1, 2)
    assert (pointers.norm(dim=1) - POINTER).abs().max() < 1e-5
    wave = audio[POINT_SAMPLES // 2 :: POINT_SAMPLES] / 0.2
    assert (pointers[:, 0] / POINTER - wave).abs().max() < 1e-3
    assert (numbers[:, 2 * POINTS :] - np.log(230 / 200) / 0.25).abs().max() < 1e-4
    assert pitch_numbers(torch.zeros(8, 2)).abs().max() == 0


def test_pitch_at_interpolates_the_teachers_pitch():
    """Half a second rising from 150 to 250 Hz, then silence: the phase in cycles is the integral of the pitch."""
    rising = np.linspace(150, 250, 40)
    pitch_hz = np.concatenate([rising, np.zeros(10)])
    found = pitch_at(pitch_hz, np.array([0, 3000, 6000, 13_000, 99_999]))
    each = np.interp((np.arange(15_000) + 0.5) / PITCH_SAMPLES - 0.5, np.arange(50), pitch_hz)
    for row, sample in zip(found[:3], (0, 3000, 6000), strict=True):
        assert abs(row[0] - each[sample]) < 0.01
        assert abs(row[1] - each[: sample + 1].sum() / TEACHER_HZ % 1) < 1e-4
    assert np.abs(found[3:]).max() == 0


def test_principal_components_reconstruct_the_spectra():
    generator = torch.Generator().manual_seed(0)
    audio = torch.cat([tone(hz, 16)[0] * level for hz, level in ((120, 1), (250, 0.1), (500, 0.5), (900, 0.02))])
    audio += 0.01 * torch.randn(audio.shape, generator=generator)
    found = spectra(audio)
    assert found.shape == (16, POINTS * BANDS)
    basis = Basis.of(found, 6)
    numbers = latents_of(audio, torch.zeros(64, 2), basis)[:, PITCH_NUMBERS:]
    assert (numbers.mean(0)).abs().max() < 1e-3
    deviations = numbers.square().mean(0).sqrt()
    assert (deviations.diff() <= 1e-4).all() and deviations[0] < 3
    scale = basis.directions.square().sum(0)
    reconstructed = numbers @ (basis.directions / scale).T + basis.mean
    assert (reconstructed - found).square().mean() < 0.1 * (found - found.mean(0)).square().mean()


def test_phases_are_distinguished_where_spectra_are_not():
    distance = SoundDistance(RATE_HZ)
    one, same, inverted, other = (
        tone(hz, 100, phase)[0][None] for hz, phase in ((200, 0), (200, 0), (200, 0.5), (300, 0))
    )
    assert max(float(part) for part in distance(one, same).values()) < 1e-4
    assert distance(one, inverted)["spectra"] < 0.3 * distance(one, other)["spectra"]
    assert distance.phase(one, inverted, inverted) > 20 * float(distance.phase(one, same, same)) + 0.01


def test_detail_distinguishes_what_the_coarse_components_do_not():
    """Narrow peaks within a coarse band, and levels below the floor of the coarse spectra."""
    levels = (1.0, 0.3, 2e-3, 5e-4)
    audio = torch.cat([tone(hz, 16)[0] * level for hz in (3000, 3150, 5200, 5500) for level in levels])
    coarse, fine = spectra(audio), fine_spectra(audio)
    assert fine.shape == (len(coarse), POINTS * DETAIL_BANDS)
    core = Basis.of(coarse, 4)
    basis = Basis(core.mean, core.directions, Detail.of(fine, core.numbers(audio), 6))
    quiet, quieter = (basis.numbers(tone(3000, 16)[0] * level)[1] for level in levels[2:])
    assert torch.equal(quiet[:4], quieter[:4]) and (quiet[4:] - quieter[4:]).abs().max() > 0.2
    numbers = basis.numbers(audio)
    assert numbers.shape == (len(coarse), basis.count) and numbers[:, 4:].mean(0).abs().max() < 1e-2

    def missed(known):
        known = torch.cat((known, torch.ones(len(known), 1)), 1)
        return float((fine - known @ torch.linalg.lstsq(known, fine).solution).square().mean())

    assert missed(numbers) < 0.5 * missed(numbers[:, :4])


def test_basis_is_restored_from_its_tensors():
    audio = torch.cat([tone(hz, 16)[0] for hz in (200, 400)])
    core = Basis.of(spectra(audio), 3)
    for basis in (core, Basis(core.mean, core.directions, Detail.of(fine_spectra(audio), core.numbers(audio), 2))):
        again = Basis.from_tensors(basis.tensors())
        assert torch.equal(again.numbers(audio), basis.numbers(audio)) and again.count == basis.count


@pytest.mark.parametrize("pitch_hz", [180.0, 200.0, 230.0])
def test_initialized_decoder_produces_the_fundamental(pitch_hz):
    """An untrained decoder follows the phase pointer in every frame and is silent in unvoiced frames."""
    vae = AudioVAE(model_sizes.config_of("nano").vae, seed=1)
    source.lay(vae)
    audio, pitch = tone(pitch_hz, 80)
    latents = torch.zeros(1, vae.config.latent_dim, 40)
    latents[0, :PITCH_NUMBERS, :20] = pitch_numbers(pitch).T
    with torch.no_grad():
        sound = vae.decoder(latents)[0]
    count = len(audio) * SOUND_HZ // RATE_HZ
    voiced, silent = sound[:count].unflatten(0, (-1, SOUND_SAMPLES))[2:], sound[count + 2 * SOUND_SAMPLES :]
    rotation = torch.exp(-2j * torch.pi * pitch_hz * torch.arange(count) / SOUND_HZ).unflatten(0, (-1, SOUND_SAMPLES))
    parts = 2 * (voiced * rotation[2:]).mean(1)  # level and phase of each frame relative to the tone
    assert (parts.abs() > 0.03).all() and silent.std() < 0.2 * voiced.std()
    assert (parts / parts.abs()).mean().abs() > 0.97
