"""The store of emotion clips: identity by content, least recently used goes first, safe among threads."""

import contextlib
import hashlib
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intone.server.errors import CallerError, Reason
from intone.server.voices.emotion_clips import MAX_EMOTION_CLIP_BYTES, EmotionClips

MIB = 1 << 20


def clip(number: int, size: int = MIB) -> bytes:
    return number.to_bytes(4, "big") + bytes(size - 4)


def test_the_same_bytes_have_the_same_id():
    clips = EmotionClips(4 << 20)
    ids = [clips.add(clip(number), clip(number), "ada") for number in (1, 2, 1)]
    assert ids[0] == ids[2] == hashlib.sha256(clip(1)).hexdigest() != ids[1]
    assert clips.get(ids[1], "emotion.clip_id") == clip(2)


def test_an_unknown_id():
    for clip_id in ("", "nobody", "0" * 64, "x" * 1000):
        with pytest.raises(CallerError, match="^settings.emotion.clip_id: .*upload it again") as caught:
            EmotionClips(4 << 20).get(clip_id, "settings.emotion.clip_id")
        assert caught.value.reason is Reason.CLIP_NOT_FOUND and len(str(caught.value)) < 200


def test_the_least_recently_used_clip_goes_first():
    clips = EmotionClips(max_bytes=2 * MIB)
    first, second = clips.add(clip(1), clip(1), "ada"), clips.add(clip(2), clip(2), "ada")
    clips.get(first, "f")
    third = clips.add(clip(3), clip(3), "ada")
    assert clips.get(first, "f") and clips.get(third, "f")
    with pytest.raises(CallerError):
        clips.get(second, "f")
    clips.add(clip(1), clip(1), "ada")  # which counts as a use, and takes no room
    clips.add(clip(4), clip(4), "ada")
    assert clips.get(first, "f")


def test_a_caller_with_many_clips_loses_its_own():
    clips = EmotionClips(max_bytes=4 * MIB)
    mine = clips.add(clip(0), clip(0), "ada")
    others = [clips.add(clip(n), clip(n), "bob") for n in range(1, 9)]
    assert clips.get(mine, "f") and all(clips.get(one, "f") for one in others[-3:])
    with pytest.raises(CallerError):
        clips.get(others[-4], "f")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(4, MAX_EMOTION_CLIP_BYTES)), max_size=12))
def test_the_newest_clips_that_fit_are_there(entries):
    limit = 3 * MIB
    clips, order = EmotionClips(max_bytes=limit), {}
    for number, size in entries:
        data = clip(number, size)
        order.pop(data, None)
        order[data] = clips.add(data, data, "ada")
    total = 0
    for data, clip_id in reversed(order.items()):
        total += len(data)
        if total > limit:
            break
        assert clips.get(clip_id, "f") == data


def test_threads():
    clips = EmotionClips(max_bytes=4 * MIB)
    failures = []

    def work(seed):
        try:
            for n in range(200):
                data = clip((seed * 7 + n) % 13, 700_000)
                clip_id = clips.add(data, data, "ada")
                with contextlib.suppress(CallerError):  # others may have filled the store meanwhile
                    assert clips.get(clip_id, "f") == data
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    kept = [clips.add(clip(n, MIB), clip(n, MIB), "ada") for n in range(4)]
    assert all(clips.get(one, "f") for one in kept), "the count of bytes is exact"
