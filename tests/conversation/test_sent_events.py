"""What a stream keeps of the events that its client may not have received."""

from intone.server.conversation.sent_events import EVENT_BYTES, SentEvents
from intone.server.events import AudioChunk, AudioKind, AudioPosition, Flushed

SAMPLES = 100
SPEECH = AudioKind.SPEECH


def chunk(utterance_id: str, sequence: int) -> AudioChunk:
    return AudioChunk(utterance_id, sequence, sequence * SAMPLES, SPEECH, bytes(2 * SAMPLES), {SPEECH: SAMPLES}, 10.0)


def numbered(sent: SentEvents, count: int) -> list[object]:
    events: list[object] = []
    for number in range(count):
        event = chunk("u1", number)
        events.append(event)
        sent.add(event)
    return events


def test_what_a_client_lacks_is_everything_after_what_it_has():
    sent = SentEvents(1 << 20)
    events = numbered(sent, 5)
    assert sent.after(0) == events
    assert sent.after(3) == events[3:]
    assert sent.after(5) == []
    assert sent.after(6) is None and sent.after(-1) is None


def test_the_oldest_events_are_dropped_where_they_are_too_large():
    sent = SentEvents(3 * (EVENT_BYTES + 2 * SAMPLES))
    events = numbered(sent, 10)
    assert sent.kept_bytes == 3 * (EVENT_BYTES + 2 * SAMPLES)
    assert sent.after(6) is None
    assert sent.after(7) == events[7:]


def test_what_was_played_was_received():
    sent = SentEvents(1 << 20)
    sent.add(Flushed("f1"))
    events = numbered(sent, 5)
    sent.add(chunk("u2", 0))
    sent.played(AudioPosition("u1", 0))
    assert sent.after(0) is not None
    sent.played(AudioPosition("u1", 2 * SAMPLES + 1))  # within the third chunk
    assert sent.after(3) is None
    assert sent.after(4) == [*events[3:], chunk("u2", 0)]
    sent.played(AudioPosition("unknown", 10_000))
    assert sent.after(4) is not None
    sent.played(AudioPosition("u2", 10_000))
    assert sent.after(7) == [] and sent.kept_bytes == 0
