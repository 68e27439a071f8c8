"""Evaluation of a checkpoint and the model card made from it: figures, comparisons and errors."""

import json

import numpy as np
import pytest
import soundfile

from intone.server.engines.voxcpm import bundled_voice
from intone.server.engines.voxcpm.weights import CONFIG_FILE, read_checkpoint
from tests.support.trained_voice import write_voice
from training import judges
from training.__main__ import main
from training.card import PAGE_FILE, write
from training.copy_synthesis import long_term_db
from training.measure import Setting, settings
from training.report import REPORT_FILE, table
from training.shards import LABEL_SAMPLES, POINT_SAMPLES, RATE_HZ, SOUND_HZ, Spoken, write_shard

TEXTS = ("He came.", "She left at once.")
SECONDS = 0.96  # whole patches


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """A run folder with two sentences of synthetic tones as held-out speech, and an untrained checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "en" / "corpus").mkdir(parents=True)
    for name in ("train", "held_out"):
        (folder / "en" / "corpus" / f"{name}.txt").write_text("\n".join(TEXTS) + "\n")
    (folder / "en" / "speech" / "held_out").mkdir(parents=True)
    labels = np.ones(int(SECONDS * 16_000) // LABEL_SAMPLES, np.uint8)
    audio = 0.1 * hum(120, SECONDS).astype(np.float32)
    sound = np.zeros(len(audio) * SOUND_HZ // RATE_HZ, np.float32)
    pitch = np.zeros((len(audio) // POINT_SAMPLES, 2), np.float32)
    write_shard(
        folder / "en" / "speech" / "held_out" / "00000.safetensors",
        [Spoken(n, audio, labels, pitch, sound, sound) for n in range(2)],
    )
    write_voice(folder / "checkpoint")
    return folder


@pytest.fixture(scope="module")
def measured(out):
    pytest.importorskip("hibari", reason="the teacher, an optional dependency, reads the random sentences")
    options = ["--sentences", "2", "--steps", "2", "20", "--random", "2"]
    assert main(["measure", "--out", str(out), *options]) == 0
    return out / "en" / "report"


def hum(pitch_hz, seconds):
    time_s = np.arange(int(seconds * 16_000)) / 16_000
    return sum(np.sin(2 * np.pi * pitch_hz * number * time_s) / number for number in (1, 2, 3))


def test_measure_reports_every_figure(measured):
    about = json.loads((measured / REPORT_FILE).read_text())
    assert [row["name"] for row in about["results"]] == [
        f"{steps}-steps-guidance-2-temperature-0.6-int8" for steps in (2, 20)
    ]
    assert len(about["fingerprint"]) == 32
    for row in about["results"]:
        assert row["engine"] == "cpu, 1 threads, int8" and row["as_served"] == (row["steps"] == 20)
        lengths = []
        for number in range(2):
            audio, rate_hz = soundfile.read(measured / row["name"] / f"{number:05d}.wav")
            assert rate_hz == 24_000
            lengths.append(len(audio) / rate_hz)
        assert row["seconds"] == pytest.approx(sum(lengths), abs=1e-6) and row["sentences"] == 2
        assert row["length_ratio_most"] == pytest.approx(max(lengths) / SECONDS, abs=1e-6)
        # The untrained model never stops: the length guard cuts every sentence, well past the teacher's duration.
        assert (row["cut"], row["runaways"], row["early_stops"]) == (2, 2, 0)
        assert (row["random_cut"], row["random_runaways"], row["random_early_stops"]) == (2, 2, 0)
        assert row["random_length_ratio_least"] > 1.6
        assert 0 < row["first_ms"] <= row["first_ms_most"] and row["rtf"] > 0
        assert 0 <= row["off_whole"] <= 1e-5
        assert row["rms_db"] < 0 and row["level_range_db"] > 0 and row["characters_per_s"] > 0
        figures = {
            "whisper": "wer",
            "hama": "per",
            "distillmos": "mos",
            "speechmos": "dnsmos",
            "resemblyzer": "likeness",
        }
        assert {judge for judge, figure in figures.items() if figure not in row} == set(row["missing"])
    page = (measured / "report.md").read_text()
    assert "left out: " in page and "| 2-steps-guidance-2-temperature-0.6-int8 |" in page and "fingerprint" in page


def test_settings_vary_one_option_at_a_time():
    served = Setting(10, 2.0, "int8", 0.6)
    asked = {"steps": [2, 10], "guidance": [2.0, 1.0], "dtype": [], "temperature": [0.8]}
    assert settings(served, asked, one_at_a_time=True) == (
        served,
        Setting(2, 2.0, "int8", 0.6),
        Setting(10, 1.0, "int8", 0.6),
        Setting(10, 2.0, "int8", 0.8),
    )
    assert [setting.name for setting in settings(served, asked)] == [
        f"{steps}-steps-guidance-{guidance}-temperature-0.8-int8" for steps in (2, 10) for guidance in (2, 1)
    ]
    assert settings(served, {}) == settings(served, {}, one_at_a_time=True) == (served,)


def test_measure_plots_results_that_can_be_compared(measured):
    pytest.importorskip("matplotlib", reason="an optional dependency")
    assert (measured / "report.png").stat().st_size > 5000


def with_figures(measured, tmp_path, **changes):
    """A copy of the report with figures as if all judges were installed."""
    about = json.loads((measured / REPORT_FILE).read_text())
    about["results"] = [{**row, "wer": 0.042, "mos": 3.91, "per": 0.05, **changes} for row in about["results"]]
    about["results"].append({"name": "teacher", "wer": 0.023, "mos": 4.5})
    tmp_path.mkdir(exist_ok=True)
    (tmp_path / REPORT_FILE).write_text(json.dumps(about))
    return tmp_path


def test_write_makes_card_and_page(out, measured, tmp_path):
    folder = write_voice(tmp_path / "voice")
    write(folder, [with_figures(measured, tmp_path)])
    card = bundled_voice.read_card(folder)["languages"]["en"]
    assert (card["wer"], card["mos"], card["per"], card["steps"], card["sentences"]) == (0.042, 3.91, 0.05, 20, 2)
    assert bundled_voice.good_enough(folder)
    page = (folder / PAGE_FILE).read_text()
    assert "| English, 2 sentences | 4.2 |" in page and "| teacher | 2.3 |" in page
    assert (
        "One voice that speaks English, in" in page and "Kokoro-82M" in page and "24000 Hz" in page and "{" not in page
    )


def test_card_of_two_languages_needs_a_report_of_each(measured, tmp_path):
    folder = write_voice(tmp_path / "voice")
    document = json.loads((folder / CONFIG_FILE).read_text())
    (folder / CONFIG_FILE).write_text(json.dumps({**document, "languages": ["en", "zh"]}))
    fingerprint = read_checkpoint(folder).fingerprint
    english, mandarin = with_figures(measured, tmp_path / "en"), with_figures(measured, tmp_path / "zh", cer=0.07)
    for report, language in ((english, "en"), (mandarin, "zh")):
        about = {**json.loads((report / REPORT_FILE).read_text()), "language": language, "fingerprint": fingerprint}
        (report / REPORT_FILE).write_text(json.dumps(about))
    with pytest.raises(ValueError, match="speaks zh too, of which there is no report"):
        write(folder, [english])
    assert not (folder / bundled_voice.CARD_FILE).exists()
    write(folder, [english, mandarin])
    spoken = bundled_voice.read_card(folder)["languages"]
    assert (spoken["en"]["wer"], spoken["zh"]["cer"]) == (0.042, 0.07) and bundled_voice.good_enough(folder)
    page = (folder / PAGE_FILE).read_text()
    assert "One voice that speaks English and Mandarin, in" in page and "| Mandarin, 2 sentences | 4.2 | 7.0 |" in page


def test_card_rejects_the_report_of_another_checkpoint(out, measured, tmp_path):
    folder = write_voice(tmp_path / "voice", storage="float16")
    with pytest.raises(ValueError, match="is of another checkpoint: run the stage `measure`"):
        write(folder, [with_figures(measured, tmp_path)])
    assert not (folder / bundled_voice.CARD_FILE).exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"wer": None, "per": None}, "no wer, per; were all judges installed"),
        ({"as_served": False}, "no figures of the voice as it is served"),
    ],
)
def test_card_rejects_missing_figures(out, measured, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        write(out / "checkpoint", [with_figures(measured, tmp_path, **changes)])
    assert not (out / "checkpoint" / bundled_voice.CARD_FILE).exists()


def test_table_shows_only_measured_columns():
    rows = [{"name": "a", "wer": 0.0512, "mos": 4.057}, {"name": "b", "wer": None, "mos": 3.0}]
    assert table(rows).splitlines() == ["| | WER % | MOS |", "|---|---:|---:|", "| a | 5.1 | 4.06 |", "| b | - | 3 |"]


@pytest.mark.parametrize(
    ("said", "heard", "rate"),
    [("kitten", "sitting", 3 / 6), ("abc", "abc", 0), ("abc", "", 1), ("a", "bcd", 3), ("abcd", "acbd", 2 / 4)],
)
def test_error_rate(said, heard, rate):
    assert judges.error_rate([said], [heard]) == rate
    assert judges.error_rate([said, said], [heard, said]) == rate / 2


def test_pitch_and_level_range_of_known_signals():
    found = judges.pitch(hum(150, 1.0))
    assert len(found) > 80 and np.abs(np.median(found) - 150) < 2
    loud, quiet, nothing = hum(150, 0.5), 0.1 * hum(150, 0.5), np.zeros(8000)
    assert abs(judges.level_range_db(np.concatenate([loud, quiet, nothing])) - 20) < 1


def test_long_term_level_by_band():
    """Halving the amplitude lowers the level of every band by 6.02 dB."""
    noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32)
    bands_hz, levels_db = long_term_db([noise], 24_000)
    assert 100 < bands_hz[0] < 130 and 6500 < bands_hz[-1] < 8000
    np.testing.assert_allclose(long_term_db([noise / 2], 24_000)[1] - levels_db, -6.02, atol=0.01)
