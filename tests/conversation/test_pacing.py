"""Playback position and lead limit."""

import pytest

from intone.server.conversation.pacing import LeadLimiter, Playback
from intone.server.errors import CallerError


class Clock:
    """A clock that is set by the test."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def playback(clock: Clock) -> Playback:
    return Playback(clock)


def test_without_reports_playback_is_assumed_in_real_time(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 1000)
    clock.now_s = 0.4
    assert playback.played_ms == pytest.approx(400)
    assert playback.lead_ms == pytest.approx(600)


def test_playback_pauses_while_there_is_nothing_to_play(playback: Playback, clock: Clock) -> None:
    clock.now_s = 5.0
    playback.audio_sent("a", 1000)
    clock.now_s = 5.25
    assert playback.played_ms == pytest.approx(250)
    clock.now_s = 9.0
    playback.audio_sent("a", 500)
    assert playback.lead_ms == pytest.approx(500)


def test_after_a_report_only_reports_move_the_position(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 1000)
    clock.now_s = 0.5
    playback.report(100)  # corrects the estimate, which was ahead
    clock.now_s = 10.0
    assert playback.played_ms == pytest.approx(100)
    assert playback.lead_ms == pytest.approx(900)
    assert playback.heard_ms("a") == pytest.approx(100)


def test_time_to_silence_falls_between_reports(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("u", 1000)
    assert playback.silent_in_ms == 1000
    clock.now_s = 0.4
    assert playback.silent_in_ms == pytest.approx(600)
    playback.report(300)
    assert playback.silent_in_ms == pytest.approx(700)
    clock.now_s = 1.0
    assert playback.silent_in_ms == pytest.approx(100) and playback.lead_ms == 700
    clock.now_s = 5.0
    assert playback.silent_in_ms == 0 and playback.lead_ms == 700  # without a last report
    playback.report(1000)
    clock.now_s = 9.0
    playback.audio_sent("v", 500)
    assert playback.silent_in_ms == 500


def test_once_no_report_can_come_playback_goes_on_in_real_time_from_the_last_one(
    playback: Playback, clock: Clock
) -> None:
    playback.audio_sent("a", 1000)
    playback.report(100)
    clock.now_s = 0.3
    playback.end_reports()
    assert playback.played_ms == pytest.approx(400)
    clock.now_s = 0.5
    assert playback.played_ms == pytest.approx(600) and playback.is_estimated


def test_heard_audio_is_counted_by_utterance(playback: Playback) -> None:
    playback.audio_sent("a", 300)
    playback.audio_sent("b", 300)
    playback.report(400)
    assert (playback.heard_ms("a"), playback.heard_ms("b")) == (300, 100)
    assert (playback.unheard_ms("a"), playback.unheard_ms("b")) == (0, 200)


def test_a_report_corrects_the_estimate_across_utterances(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 300)
    playback.audio_sent("b", 300)
    clock.now_s = 0.5
    assert playback.heard_ms("b") == pytest.approx(200)
    playback.report(100)
    assert playback.heard_ms("a") == pytest.approx(100)
    assert playback.heard_ms("b") == pytest.approx(0)
    assert playback.unheard_ms("a") == pytest.approx(200)
    assert playback.unheard_ms("b") == pytest.approx(300)


def test_dropped_audio_is_not_played(playback: Playback) -> None:
    playback.audio_sent("a", 500)
    playback.audio_sent("b", 500)
    playback.report(200)
    playback.drop("a")
    assert playback.lead_ms == pytest.approx(500)
    playback.report(300)  # the next thing played is b
    assert playback.heard_ms("b") == pytest.approx(100)


@pytest.mark.parametrize(("reported", "message"), [(1200, "only 1000 ms"), (50, "less than the 100")])
def test_impossible_positions_are_refused(playback: Playback, reported: int, message: str) -> None:
    playback.audio_sent("a", 1000)
    playback.report(100)
    with pytest.raises(CallerError, match=message):
        playback.report(reported)
    assert playback.played_ms == pytest.approx(100)


def test_the_limit_is_kept_by_time(playback: Playback, clock: Clock) -> None:
    limiter = LeadLimiter(playback, 1000)
    assert limiter.wait_ms(400) == 0
    playback.audio_sent("a", 900)
    assert limiter.wait_ms(400) == pytest.approx(300)
    clock.now_s = 0.3
    assert limiter.wait_ms(400) == 0


def test_after_a_report_only_reports_release_audio(playback: Playback, clock: Clock) -> None:
    limiter = LeadLimiter(playback, 1000)
    playback.audio_sent("a", 900)
    playback.report(0)
    clock.now_s = 60.0
    assert limiter.wait_ms(400) is None
    playback.report(300)
    assert limiter.wait_ms(400) == 0


def test_a_chunk_longer_than_the_limit_is_sent_once_all_is_played(playback: Playback, clock: Clock) -> None:
    limiter = LeadLimiter(playback, 200)
    assert limiter.wait_ms(500) == 0
    playback.audio_sent("a", 500)
    assert limiter.wait_ms(500) == pytest.approx(500)


def test_no_limit_never_waits(playback: Playback) -> None:
    playback.audio_sent("a", 1e9)
    assert LeadLimiter(playback, None).wait_ms(1e6) == 0
