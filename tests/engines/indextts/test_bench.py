"""Reports of the IndexTTS benchmarks: stages, forecasts, chunk borders."""

import numpy as np
import pytest

from tests.support.bench_scripts import bench_script

stages, borders = bench_script("indextts_stages"), bench_script("indextts_borders")


def run(ttfa_s: float, **took_s: float) -> object:
    return stages.Run(ttfa_s, 2.0, 4.0, 0.0, took_s)


def test_the_stage_table() -> None:
    cell = stages.Cell(2, 26, 25)
    theirs = run(2.0, gpt_gen_time=1.0, gpt_forward_time=0.1, s2mel_time=0.5, bigvgan_time=0.2)
    found = {cell: {"ours": [run(0.5, gpt_gen_time=0.2, s2mel_time=1.2, bigvgan_time=0.4)] * 2, "theirs": [theirs]}}
    table = list(stages.lines(found, "theirs"))
    assert len({line.count("|") for line in table}) == 1 and "TTFA, theirs = 1" in table[0]
    start = "| 2 | 4.00 | 25 |"
    assert (
        table[2]
        == f"{start} ours | 200 (10 %) | – | 1200 (60 %) | 400 (20 %) | 200 (10 %) | 2000 | 0.50 | 500 | 0.250 |"
    )
    assert table[3].startswith(f"{start} theirs | 1000 (50 %) | 100 (5 %) | 500 (25 %) |")


def test_the_forecast_follows_the_measurements() -> None:
    short, long = stages.Cell(2, 26, 3), stages.Cell(20, 120, 25)
    forecast = stages.Forecast(3.0)
    rest = [(long, "ours"), (long, "theirs")]
    assert forecast.left_s(rest) == pytest.approx(2 * long.takes_s(3.0))
    forecast.add("ours", short, short.takes_s(3.0) / 4)
    assert forecast.left_s(rest) == pytest.approx(1.25 * long.takes_s(3.0))
    assert long.takes_s(3.0) == pytest.approx(0.115 * 120 + 25 * 1.37 * (258.4 + 412.8) / 620 + 1.4 * 4.79, rel=1e-3)
    assert forecast.left_s([]) == 0


def test_the_whole_grid_takes_less_than_half_an_hour() -> None:
    texts = ((2, 26), (10, 70), (20, 120))
    cells = [stages.Cell(length, codes, steps) for length, codes in texts for steps in (25, 10, 5, 3)]
    assert 3 * sum(cell.takes_s(3.0) for cell in cells) < 20 * 60  # with none of the three faster than the official


def tone(samples: int) -> np.ndarray:
    phase = np.cumsum(0.05 + 0.02 * np.sin(np.arange(samples) / 3000))
    return (0.3 * np.sin(phase)).astype(np.float32)


def test_inaudible_borders() -> None:
    sounds = [tone(40_000), tone(30_000)]
    met = borders.compare(sounds, [[10_000, 20_000], [15_000]], sounds)
    assert met.count == 3 and met.jump <= 1.0
    assert met.largest <= 1.0 and met.over_usual < 0.2


@pytest.mark.parametrize("place", [4_001, 10_000, 31_111])
def test_an_audible_border(place: int) -> None:
    whole = tone(40_000)
    cut = whole.copy()
    cut[place:] *= -1
    met = borders.compare([cut], [[place]], [whole])
    assert met.largest > 3 and met.over_usual > 0.3
    assert met.jump == pytest.approx(
        np.abs(np.diff(cut)[place - 1 : place + 384]).max() / np.abs(np.diff(whole)).max(), rel=1e-6
    )
    assert borders.compare([cut], [[5_000 if place > 10_000 else 20_000]], [whole]).largest < 1
