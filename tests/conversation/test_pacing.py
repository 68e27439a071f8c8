"""Playback position, in utterances and samples, and the lead limit. One sample is one millisecond here."""

import pytest

from intone.server.conversation.audio_counts import AudioCounts
from intone.server.conversation.pacing import STALL_S, LeadLimiter, Playback
from intone.server.events import AudioPosition


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
    return Playback(clock, rate_hz=1000)


def report(playback: Playback, utterance_id: str, sample: int) -> bool:
    return playback.report(AudioPosition(utterance_id, sample))


def test_without_reports_playback_is_assumed_in_real_time(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 1000)
    clock.now_s = 0.4
    assert playback.heard_samples("a") == pytest.approx(400)
    assert playback.lead_ms == pytest.approx(600)
    assert not playback.has_reports


def test_audio_is_overdue_once_everything_sent_could_have_been_played(playback: Playback, clock: Clock) -> None:
    clock.now_s = 5.0
    assert playback.overdue_s == 0
    playback.audio_sent("a", 1000)
    clock.now_s = 5.9
    playback.audio_sent("a", 500)
    clock.now_s = 6.5
    assert playback.overdue_s == 0
    clock.now_s = 7.0
    assert playback.overdue_s == pytest.approx(0.5)
    playback.audio_sent("a", 500)
    assert playback.overdue_s == 0
    for clock.now_s in (7.1, 7.2, 9.0):  # it has paused
        report(playback, "a", 1600)
    assert playback.silent_in_ms == 400 and playback.overdue_s == pytest.approx(1.5)


def test_playback_pauses_while_there_is_nothing_to_play(playback: Playback, clock: Clock) -> None:
    clock.now_s = 5.0
    playback.audio_sent("a", 1000)
    clock.now_s = 5.25
    assert playback.heard_samples("a") == pytest.approx(250)
    clock.now_s = 9.0
    playback.audio_sent("a", 500)
    assert playback.lead_ms == pytest.approx(500)
    clock.now_s = 9.1
    assert playback.heard_samples("a") == pytest.approx(1100)


def test_a_delay_of_playback_postpones_the_estimate(clock: Clock) -> None:
    playback = Playback(clock, rate_hz=1000, delay_ms=300)
    playback.audio_sent("a", 500)
    clock.now_s = 0.3
    assert playback.heard_samples("a") == 0
    assert playback.silent_in_ms == pytest.approx(500)
    clock.now_s = 0.4
    assert playback.heard_samples("a") == pytest.approx(100)
    clock.now_s = 2.0
    playback.audio_sent("a", 500)
    assert playback.silent_in_ms == pytest.approx(800)
    clock.now_s = 2.4
    assert playback.heard_samples("a") == pytest.approx(600)


def test_a_report_is_extrapolated_in_real_time(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 1000)
    clock.now_s = 0.5
    assert report(playback, "a", 100)  # corrects the estimate, which was ahead
    clock.now_s = 0.7
    assert playback.heard_samples("a") == pytest.approx(300)
    assert playback.lead_ms == pytest.approx(900), "only reports release audio"
    clock.now_s = 10.0
    assert playback.heard_samples("a") == 1000


def test_two_equal_reports_show_that_playback_has_paused(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 1000)
    for clock.now_s in (0.2, 0.4):
        report(playback, "a", 100)
    clock.now_s = 1.0
    assert playback.heard_samples("a") == pytest.approx(100)
    report(playback, "a", 150)  # plays on
    clock.now_s = 1.1
    assert playback.heard_samples("a") == pytest.approx(250)


def test_two_equal_reports_at_the_end_of_the_audio_are_no_pause(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 100)
    for clock.now_s in (0.2, 0.4):
        report(playback, "a", 100)
    playback.audio_sent("a", 500)
    clock.now_s = 0.5
    assert playback.heard_samples("a") == pytest.approx(200)


def test_time_to_silence_falls_between_reports(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("u", 1000)
    assert playback.silent_in_ms == 1000
    clock.now_s = 0.4
    report(playback, "u", 300)
    assert playback.silent_in_ms == pytest.approx(700)
    clock.now_s = 1.0
    assert playback.silent_in_ms == pytest.approx(100) and playback.lead_ms == 700
    clock.now_s = 5.0
    assert playback.silent_in_ms == 0 and playback.lead_ms == 700  # without a last report
    report(playback, "u", 1000)
    clock.now_s = 9.0
    playback.audio_sent("v", 500)
    assert playback.silent_in_ms == 500


def test_once_no_report_can_come_time_releases_audio(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 1000)
    report(playback, "a", 100)
    clock.now_s = 0.3
    playback.end_reports()
    assert playback.heard_samples("a") == pytest.approx(400) and not playback.waits_for_reports
    clock.now_s = 0.5
    assert playback.lead_ms == pytest.approx(400)


def test_a_report_says_that_earlier_utterances_were_played(playback: Playback) -> None:
    playback.audio_sent("a", 300)
    playback.audio_sent("b", 300)
    report(playback, "b", 100)
    assert (playback.heard_samples("a"), playback.heard_samples("b")) == (300, 100)
    assert (playback.unheard().get("a", 0), playback.unheard().get("b", 0)) == (0, 200)
    assert playback.lead_ms == 200


def test_a_report_corrects_the_estimate_across_utterances(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 300)
    playback.audio_sent("b", 300)
    clock.now_s = 0.5
    assert playback.heard_samples("b") == pytest.approx(200)
    report(playback, "a", 100)
    assert (playback.heard_samples("a"), playback.heard_samples("b")) == (100, 0)
    clock.now_s = 0.8
    assert (playback.heard_samples("a"), playback.heard_samples("b")) == (300, pytest.approx(100))


def test_dropped_audio_is_not_played(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 500)
    playback.audio_sent("b", 500)
    report(playback, "a", 200)
    playback.drop("a")
    assert playback.lead_ms == pytest.approx(500)
    clock.now_s = 0.1  # the next thing played is b
    assert playback.heard_samples("b") == pytest.approx(100)


@pytest.mark.parametrize(("utterance_id", "sample"), [("a", 99), ("a", -5), ("cut", 10), ("never sent", 10)], ids=str)
def test_stale_and_unknown_positions_are_ignored(playback: Playback, utterance_id: str, sample: int) -> None:
    playback.audio_sent("cut", 100)
    playback.drop("cut")
    playback.audio_sent("a", 1000)
    report(playback, "a", 100)
    assert not report(playback, utterance_id, sample)
    assert playback.heard_samples("a") == pytest.approx(100)


def test_a_position_in_an_utterance_before_the_one_reported_is_stale(playback: Playback) -> None:
    playback.audio_sent("a", 300)
    playback.audio_sent("b", 300)
    report(playback, "b", 100)
    assert not report(playback, "a", 200)
    assert playback.heard_samples("b") == pytest.approx(100)


@pytest.mark.parametrize("sample", [1001, 10**15])
def test_a_position_past_the_audio_sent_is_its_end(playback: Playback, sample: int) -> None:
    playback.audio_sent("a", 1000)
    assert report(playback, "a", sample)
    assert playback.unheard().get("a", 0) == 0


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
    report(playback, "a", 0)
    clock.now_s = 60.0
    assert limiter.wait_ms(400) is None
    report(playback, "a", 300)
    assert limiter.wait_ms(400) == 0


def test_playback_stalls_when_no_report_shows_another_position(playback: Playback, clock: Clock) -> None:
    playback.audio_sent("a", 900)
    for clock.now_s in (1.0, 1.5):
        report(playback, "a", 100)
    assert playback.stalls_in_s == pytest.approx(STALL_S - 0.5)
    clock.now_s = 1.0 + STALL_S
    assert playback.stalls_in_s == 0
    report(playback, "a", 200)
    assert playback.stalls_in_s == STALL_S


def test_a_chunk_longer_than_the_limit_is_sent_once_all_is_played(playback: Playback, clock: Clock) -> None:
    limiter = LeadLimiter(playback, 200)
    assert limiter.wait_ms(500) == 0
    playback.audio_sent("a", 500)
    assert limiter.wait_ms(500) == pytest.approx(500)


def test_no_limit_never_waits(playback: Playback) -> None:
    playback.audio_sent("a", 10**9)
    assert LeadLimiter(playback, None).wait_ms(1e6) == 0


def test_what_is_kept_of_played_utterances_is_bounded(playback: Playback, clock: Clock) -> None:
    for number in range(500):
        playback.audio_sent(f"u{number}", 10)
        clock.now_s += 1
    assert len(playback._audio) < 100


def test_holes_in_an_utterance_are_counted(clock: Clock) -> None:
    counts = AudioCounts()
    playback = Playback(clock, rate_hz=1000, counts=counts)
    playback.audio_sent("a", 100)
    clock.now_s = 0.05
    playback.audio_sent("a", 100)  # in time
    clock.now_s = 0.21
    playback.audio_sent("a", 100)  # 10 ms late, which nobody hears
    assert counts.underruns == 0
    clock.now_s = 1.0
    playback.audio_sent("a", 100)
    assert counts.underruns == 1 and counts.underrun_s == pytest.approx(1.0 - 0.31)
    clock.now_s = 5.0
    playback.audio_sent("b", 100)  # between utterances there may be any silence
    assert counts.underruns == 1


def test_a_hole_begins_where_reported_playback_ended(clock: Clock) -> None:
    counts = AudioCounts()
    playback = Playback(clock, rate_hz=1000, counts=counts)
    playback.audio_sent("a", 500)
    clock.now_s = 0.4
    assert report(playback, "a", 500)  # faster than real time
    clock.now_s = 0.7
    playback.audio_sent("a", 100)
    assert counts.underruns == 1 and counts.underrun_s == pytest.approx(0.3)


def test_a_hole_counts_the_time_until_what_is_sent_sounds(clock: Clock) -> None:
    counts = AudioCounts()
    playback = Playback(clock, rate_hz=1000, delay_ms=300, counts=counts)
    playback.audio_sent("a", 500)  # sounds until 0.8
    clock.now_s = 0.6
    playback.audio_sent("a", 500)  # sounds from 0.9 on
    assert counts.underruns == 1 and counts.underrun_s == pytest.approx(0.1)


def test_audio_that_the_client_discards_is_counted(clock: Clock) -> None:
    counts = AudioCounts()
    playback = Playback(clock, rate_hz=1000, counts=counts)
    playback.audio_sent("a", 1000)
    clock.now_s = 0.25
    playback.drop("a")
    assert counts.unheard_s == pytest.approx(0.75)
