"""The recipe of nano IndexTTS: steered speech, codes, the vocoder's source, and training runs."""

import json
import shutil

import numpy as np
import pytest
import torch

from intone.server.domain import EMOTIONS, Emotion, Recording, SpeakRequest, SynthesisOptions
from intone.server.engines.indextts.checkpoint.weights import read_checkpoint
from intone.server.engines.indextts.engine import IndexTTSEngine
from intone.server.engines.indextts.reference.language_model import GPT
from intone.server.engines.indextts.text.front_end import FrontEnd
from intone.server.engines.indextts.vocoder.bigvgan import BigVGAN as ServedBigVGAN
from intone.server.engines.indextts.vocoder.source import Source, SourceState, harmonics
from intone.server.engines.indextts.voice.emotion import blended
from intone.server.engines.indextts.voice.prepared_voice import packed_voice, speaker_of
from intone.server.engines.weights import Weights
from intone.server.errors import UnsupportedVoiceError
from intone.server.ops import reference
from training import native
from training.indextts import code_report, codes, export, sizes, vocoder
from training.indextts.__main__ import main
from training.indextts.features import Basis, code_starts, codes_of
from training.indextts.parameters import published
from training.indextts.prosody import NEUTRAL, Mood, mood_of, served_weight
from training.indextts.speech import FRAME_S, read_speech, write_shard
from training.indextts.teacher import Steered
from training.indextts.train_flow import FlowRecipe, FlowTrainee
from training.indextts.train_gpt import GptRecipe, GptTrainee
from training.indextts.train_vocoder import VocoderRecipe, VocoderTrainee
from training.loop import Budget, load_state, read_log, train

TEXTS = ("I told you that the meeting starts at nine.", "What a day, isn't it?", "Thank you, I will call back.")
SAD, ANGRY = 2, 1
HAPPY = Emotion(tuple(float(name == "happy") for name in EMOTIONS), 1.0)


@pytest.fixture(scope="module")
def speak():
    return Steered()


@pytest.fixture(scope="module")
def speech(speak, tmp_path_factory):
    folder = tmp_path_factory.mktemp("speech")
    moods = (Mood(), Mood(ANGRY, 1.0), Mood(SAD, 0.5))
    write_shard(folder / "0.safetensors", [speak(*given) for given in zip(TEXTS, range(3), moods, strict=True)])
    return read_speech(folder)


@pytest.fixture(scope="module")
def basis(speech):
    return Basis.of(speech)


def test_strength_moves_pitch_level_and_length(speak):
    def measured(mood):
        spoken = speak(TEXTS[0], 0, mood)
        voiced = spoken.pitch[:, 1] > 0.5
        return len(spoken.mel), np.median(spoken.pitch[voiced, 0]), spoken.sound.std()

    plain, half, full = measured(Mood()), measured(Mood(SAD, 0.5)), measured(Mood(SAD, 1.0))
    assert plain[0] < half[0] < full[0]
    assert plain[1] > half[1] > full[1]
    assert plain[2] > half[2] > full[2]


def test_moods_of_sentences_are_balanced():
    moods = [mood_of(number) for number in range(4000)]
    counts = np.bincount([mood.emotion + 1 for mood in moods], minlength=9)
    assert 0.25 < counts[0] / 4000 < 0.35 and counts[1:].min() > 280
    assert all(0.1 <= mood.strength <= 1 for mood in moods if mood.emotion != NEUTRAL)
    assert served_weight(NEUTRAL, 1.0) == 0 and served_weight(SAD, 1.0) == pytest.approx(0.8)


def test_codes_name_every_sound_in_order(speech, basis):
    made = codes_of(speech, basis)
    assert made.min() >= 0 and made.max() < codes.CODES
    sounds, pitch, effort = codes.parts(made)
    assert torch.equal(codes.composed(sounds, pitch, effort), made) and torch.equal(sounds, speech.sounds)
    for index, text in enumerate(speech.texts):
        span = slice(*speech.codes[index : index + 2].tolist())
        heard = [codes.SOUNDS[int(sound) - 1] for sound in torch.unique_consecutive(speech.sounds[span]) if sound]
        written = [character for character in text if character in codes.SOUNDS]
        # Two equal sounds in a row have codes of their own, but not codes that differ in the sound.
        assert heard == [c for at, c in enumerate(written) if at == 0 or written[at - 1] != c]
    starts, ends = code_starts(speech)
    assert torch.equal(starts[1:], ends[:-1]) and ends[-1] == len(speech.mel)


def test_no_unit_is_left_out_of_the_codes():
    starts, ends = np.array([0.0, 1.0, 1.2, 1.3, 1.35]), np.array([1.0, 1.2, 1.3, 1.35, 2.0])
    assert codes.assigned(starts, ends, 0.25, 8).tolist() == [0, 0, 0, 1, 2, 3, 4, 4]
    assert codes.assigned(starts, ends, 0.25, 4) is None


def test_text_has_one_token_per_character():
    from intone.server.engines.indextts.text.tokenizers import BytePairTokenizer

    tokenizer = BytePairTokenizer(codes.vocabulary())
    text = "ˌI tˈOld ju ðæt ðə mˈiTɪŋ, nˈIn… lˈɪTᵊl."
    assert len(tokenizer.ids(text)) == len(text)


def test_source_continues_across_chunks():
    random = torch.Generator().manual_seed(0)
    frames = torch.randn(6, 40, generator=random)
    source = Source(16, 4, FRAME_S)
    whole, end = source.rows(frames, SourceState())
    state, parts = SourceState(), []
    for part in frames.split([1, 7, 0, 32], dim=1):
        rows, state = source.rows(part, state)
        parts.append(rows)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-6)
    assert state.frames == end.frames == 40 and state.phase == pytest.approx(end.phase)


def test_source_has_the_pitch_of_its_row():
    source = Source(64, 0, FRAME_S)
    pulses, _ = source.pulses(np.full(200, 210.0), np.ones(200), SourceState(210.0, 1.0))
    spectrum = np.abs(np.fft.rfft(pulses.ravel() * np.hanning(pulses.size)))
    assert (
        np.fft.rfftfreq(pulses.size, FRAME_S / 64)[20:60].size
        and abs(np.fft.rfftfreq(pulses.size, FRAME_S / 64)[spectrum[: len(spectrum) // 10].argmax()] - 210) < 1
    )
    phases = np.linspace(-0.5, 0.5, 21)
    summed = np.cos(2 * np.pi * np.outer(phases, np.arange(1, 6))).sum(1)
    assert np.allclose(harmonics(phases, np.full(21, 5.0)), summed)


@pytest.mark.parametrize("length", [1, 3, 40])
def test_activation_matches_reference(length):
    if not native.load("indextts/anti_alias.cpp", "intone_anti_alias"):
        pytest.skip("training/indextts/anti_alias.cpp cannot be compiled here")
    random = torch.Generator().manual_seed(length)
    x, grad = torch.randn(2, 3, length, generator=random), torch.randn(2, 3, length, generator=random)
    given = [x, torch.rand(3, generator=random) + 0.5, torch.rand(3, generator=random) + 0.5]
    found, expected = [], []
    for out, dtype, operation in (
        (found, torch.float32, vocoder.snake_beta),
        (expected, torch.float64, lambda *inputs: reference.snake_beta(*inputs, 0, 0)),
    ):
        inputs = [tensor.to(dtype).requires_grad_() for tensor in given]
        value = operation(*inputs)
        out += [value, *torch.autograd.grad(value, inputs, grad.to(dtype))]
    assert all(torch.allclose(a.double(), b, atol=1e-5) for a, b in zip(found, expected, strict=True))


def test_vocoder_computes_what_the_server_does():
    config = sizes.config("tiny")
    model = vocoder.BigVGAN(config, 1)
    served = ServedBigVGAN(config.vocoder, Weights(published(model.state_dict())))
    rows = 0.5 * torch.randn(1, config.vocoder.mel_bands, 30, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model(rows).clamp(-1, 1)
        theirs, _ = served.decode(rows, served.initial_state(), last=True)
    assert torch.allclose(ours, theirs, atol=1e-5)


def vocoder_trainee(speech, basis, **given):
    recipe = VocoderRecipe(**{"steps": 8, "segment_frames": 60, "context_frames": 4, "jury_width": 2, **given})
    return VocoderTrainee(sizes.config("tiny"), recipe, basis, speech, speech)


def test_vocoder_begins_with_the_source(speech, basis):
    """Untrained, it passes the pulses on: the phase of every harmonic is off by the same angle and delay."""
    trainee = vocoder_trainee(speech, basis)
    segment = trainee.segments.at(int(speech.frames[0]) + 40, 60)
    harmonic = segment.harmonics
    with torch.no_grad():
        made = trainee.vocoder(segment.rows[None])[0]
    ours, theirs = (
        torch.stft(part, 1024, 256, window=torch.hann_window(1024), return_complex=True) for part in (made, harmonic)
    )
    cross = (ours * theirs.conj())[10:60, 8:-8]
    strong = theirs.abs()[10:60, 8:-8] > 0.3 * theirs.abs().max()
    angles = cross[strong] / cross[strong].abs()
    assert len(angles) > 20 and abs(angles.mean()) > 0.5


def test_interrupted_vocoder_run_resumes_identically(speech, basis, tmp_path):
    budget = Budget(steps=4, log_steps=1, examine_steps=2)
    train(vocoder_trainee(speech, basis, adversary_from=1, jury_silence=1), tmp_path / "whole", budget, "vocoder")
    for steps in (2, 4):
        budget = Budget(steps=steps, log_steps=1, examine_steps=2)
        train(vocoder_trainee(speech, basis, adversary_from=1, jury_silence=1), tmp_path / "parts", budget, "vocoder")
    assert json.dumps(read_log(tmp_path / "whole")) == json.dumps(read_log(tmp_path / "parts"))
    left, right = (load_state(tmp_path / name)["trainee"]["average"] for name in ("whole", "parts"))
    assert all(torch.equal(left[name], right[name]) for name in left)


@pytest.fixture(scope="module")
def out(speech, basis, tmp_path_factory):
    """A run whose parts have been trained for two steps each."""
    folder = tmp_path_factory.mktemp("run")
    config, budget = sizes.config("tiny"), Budget(steps=2, log_steps=1, examine_steps=2)
    Basis.at(folder, speech)
    flow = FlowRecipe(steps=2, new_frames=60, known_frames=30)
    for name, trainee in (
        ("vocoder", vocoder_trainee(speech, basis)),
        ("flow", FlowTrainee(config, flow, basis, speech, speech)),
        ("gpt", GptTrainee(config, GptRecipe(steps=2), basis, speech, speech)),
    ):
        train(trainee, folder / name, budget, name)
    return folder


@pytest.mark.slow
def test_flow_and_gpt_losses_decrease(speech, basis):
    config = sizes.config("tiny")
    flow = FlowRecipe(steps=60, new_frames=60, known_frames=30, rate=3e-3)
    for trainee, name in (
        (FlowTrainee(config, flow, basis, speech, speech), "flow"),
        (GptTrainee(config, GptRecipe(steps=60, rate=3e-3), basis, speech, speech), "codes"),
    ):
        losses = [float(trainee.step(number)[name].detach()) for number in range(60)]
        assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10]), name


def test_exported_checkpoint_speaks_in_its_own_voice(out, tmp_path):
    size = export.run(out, "tiny", "int8", tmp_path)
    assert size < 5e6
    engine = IndexTTSEngine.from_folder(tmp_path)
    info = engine.info
    assert (info.clones_voices, info.voices_emotion, info.languages) == (False, True, ("en",))
    assert info.sample_rate_hz == 24_000 and info.alphabets == ("ipa",)
    options = SynthesisOptions(parameters={"max_audio_ms": 900})
    plain, happy = (
        spoken(engine, SpeakRequest("Good morning.", 1, emotion=mood, options=options)) for mood in (Emotion(), HAPPY)
    )
    assert len(plain) > 2000 and np.isfinite(plain).all()
    assert len(plain) != len(happy) or np.abs(plain - happy).max() > 0
    with pytest.raises(UnsupportedVoiceError, match="needs the full model"):
        engine.prepare_voice(Recording(np.zeros(24_000, np.float32), 24_000))


def spoken(engine, request):
    state, parts = engine.start(request), []
    while not state.done:
        parts += [step.pcm for step in engine.step([state]) if step.pcm is not None]
    return np.concatenate(parts)


def test_server_reads_text_and_codes_as_trained(out, speech, tmp_path):
    """Token ids of a text, and logits of the decoding loop, are those of training."""
    export.run(out, "tiny", "float32", tmp_path)
    checkpoint = read_checkpoint(tmp_path)
    front_end = FrontEnd.load(tmp_path, checkpoint.config)
    assert list(front_end.tokenize(TEXTS[0]).ids) == codes.token_ids(speech.texts[0])
    model = export.Trained.load(out, "tiny").gpt
    text, given, mood = codes.token_ids(speech.texts[1]), torch.tensor([7, 300, 20]), Mood(ANGRY, 0.7)
    with torch.no_grad():
        hidden, _, starts = model([text], [given], [mood])
        expected = model.logits(hidden[0, starts[0] :])
        served = GPT(checkpoint.config, Weights(checkpoint.gpt))
        pack = packed_voice(tmp_path, "any")
        speaker = speaker_of(pack, torch.device("cpu"))
        weights = [0.0] * 8
        weights[ANGRY] = mood.weight
        emotion = blended(speaker.emotion, speaker.emotion_rows, weights)
        unit, first = served.begin(served.prefix(text, speaker.rows, emotion), 4)
        found = served.logits(torch.cat((first[None], served.replay(given, unit))))
    assert torch.allclose(found, expected, atol=1e-4)


def test_slim_states_resume(out, speech, basis, tmp_path):
    shutil.copytree(out, tmp_path / "run")
    assert main(["slim", "--out", str(tmp_path / "run")]) == 0
    slim = tmp_path / "run" / "slim"
    assert {path.parent.name for path in slim.glob("*/state.pt")} == {"vocoder", "flow", "gpt"}
    assert "optimizers" not in load_state(slim / "vocoder")["trainee"]
    budget = Budget(steps=3, log_steps=1, examine_steps=3)
    assert train(vocoder_trainee(speech, basis), slim / "vocoder", budget, "vocoder") == 3
    assert export.averaged(slim, "flow").keys() == export.averaged(out, "flow").keys()


def test_report_on_codes_names_what_they_keep(speech, tmp_path, monkeypatch):
    monkeypatch.setattr(code_report, "read_speech", lambda folder, shards: speech)
    report = code_report.run(tmp_path, None)
    assert report.count("named from") == 3 and f"{len(speech.sounds)} codes" in report
