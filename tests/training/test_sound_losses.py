"""What the decoder of the audio VAE learns by: what each loss has to say, and judges that hear."""

import pytest
import torch

from training.balance import Balance
from training.discriminators import Jury
from training.shards import RATE_HZ
from training.spectra import FLOOR, SoundDistance

SHARES = {"near": 1.0, "far": 0.5}


def losses(sound, scale):
    """Two that pull in directions at right angles."""
    return {"near": sound[0] * scale, "far": 3 * sound[1]}


def test_the_pull_of_a_loss_is_its_share_whatever_its_size():
    for scale in (1e-3, 1.0, 1e3):
        sound = torch.zeros(4, requires_grad=True)
        pull = Balance(SHARES).gradient(sound, losses(sound, scale))
        torch.testing.assert_close(pull, torch.tensor([1.0, 0.5, 0.0, 0.0]))


def test_the_size_of_a_pull_is_remembered():
    balance, sound = Balance(SHARES), torch.zeros(4, requires_grad=True)
    balance.gradient(sound, losses(sound, 1.0))
    pull = balance.gradient(sound, losses(sound, 2.0))  # now twice its usual size
    torch.testing.assert_close(pull[:2], torch.tensor([2 / 1.01, 0.5]))
    assert balance.gradient(sound, {"far": 3 * sound[1]}).tolist() == [0, 0.5, 0, 0]  # without the other
    with pytest.raises(KeyError, match="unknown"):
        balance.gradient(sound, {"unknown": sound[0]})


def test_silence_has_no_say_beyond_its_length():
    """With a floor far below speech, nearly all of the gradient went to where the teacher is silent."""
    generator = torch.Generator().manual_seed(0)
    seconds = torch.arange(RATE_HZ) / RATE_HZ
    wanted = 0.1 * torch.sin(2 * torch.pi * 200 * seconds) * (seconds < 0.75)
    made = (0.7 * wanted + 1e-4 * torch.randn(wanted.shape, generator=generator)).unsqueeze(0).requires_grad_()
    spectra, _ = SoundDistance(RATE_HZ)(made, wanted.unsqueeze(0))
    (pull,) = torch.autograd.grad(spectra, made)
    silent = pull[:, int(0.8 * RATE_HZ) :].square().sum() / pull.square().sum()
    assert silent < 0.2 and FLOOR < 0.1


def test_no_judge_begins_deaf():
    """What speech-like sound is to a judge moves as much as the judge's own bias, from the first weights on."""
    torch.manual_seed(0)
    sound = 0.1 * torch.randn(4, 8_000, generator=torch.Generator().manual_seed(1))
    jury = Jury(8)
    with torch.no_grad():
        for turn in range(3):
            for score, features in jury(sound, turn):
                assert all(0.2 < float(feature.std()) < 5 for feature in features)
                assert float(score.std()) > 0.1
