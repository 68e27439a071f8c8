"""The voice store: names, exact persistence, and files that cannot be used."""

import errno
import logging
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from intone.server.domain import Filler, Level, PreparedVoice, Recording
from intone.server.errors import CallerError, OverloadError, Reason, StorageError
from intone.server.rpc.wire.status import to_status
from intone.server.storage import atomic_write
from intone.server.storage.atomic_write import TEMPORARY_SUFFIX
from intone.server.voices.store import ASIDE_SUFFIX, DEFAULT_VOICE, VoiceStore, build_voice, content_id
from tests.support.rpc_status import reason_of


def recording(transcript="It was a day, 那天。", seed=0):
    samples = np.random.default_rng(seed).standard_normal(3000).astype(np.float32) / 3
    return Recording(samples, 24000, transcript)


def voice(name="ada", **changes):
    prepared = {
        "voxcpm": PreparedVoice(
            "weights-1", {"latents": np.arange(12, dtype=np.float32).reshape(3, 4)}, "It was a day"
        ),
        "indextts": PreparedVoice(
            "weights-2", {"codes.a": np.array([1, 2], np.int64), "mel": np.ones((1, 2), np.float16)}
        ),
    }
    details = {"languages": ("en", "zh-TW"), "description": "Warm,\nlow. 温暖", "labels": {"team": "a", "für": ""}}
    return replace(build_voice(name, recording(), prepared, 1234567890.125), **{**details, **changes})


def other_voice(name="ada", **changes):
    """A voice with another recording."""
    return replace(build_voice(name, recording(seed=1), {}, 5.0), **changes)


def assert_same(one, other):
    assert (one.name, one.created_s, one.content_id) == (other.name, other.created_s, other.content_id)
    assert (one.languages, one.description, one.labels) == (other.languages, other.description, other.labels)
    assert (one.recording.sample_rate_hz, one.recording.transcript) == (24000, other.recording.transcript)
    assert np.array_equal(one.recording.read().samples, other.recording.read().samples)
    assert_same_assets(one, other)
    assert set(one.prepared) == set(other.prepared)
    for engine, prepared in one.prepared.items():
        twin = other.prepared[engine]
        assert (prepared.fingerprint, prepared.text, set(prepared.arrays)) == (
            twin.fingerprint,
            twin.text,
            set(twin.arrays),
        )
        for name, array in prepared.arrays.items():
            assert array.dtype == twin.arrays[name].dtype and np.array_equal(array, twin.arrays[name])


def assert_same_assets(one, other):
    assert one.levels == other.levels and len(one.fillers) == len(other.fillers)
    for filler, twin in zip(one.fillers, other.fillers, strict=True):
        assert filler.samples.dtype == twin.samples.dtype and np.array_equal(filler.samples, twin.samples)
        assert replace(filler, samples=None) == replace(twin, samples=None)


def with_assets(old):
    """`old` with two fillers and a level."""
    samples = np.random.default_rng(len(old.fillers)).standard_normal(1000).astype(np.float32) / 9
    rendered = Filler("嗯，让我想想。", "melancholic", "zh", samples, 24000, (20, 42), "voxcpm", "weights-1")
    clip = Filler("Oh!", "neutral", "en", samples[:500], 16000, (32,))
    level = Level("weights-1", -26.612802854597835)
    return replace(old, fillers=(*old.fillers, rendered, clip), levels={"voxcpm": level})


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path):
    return VoiceStore(tmp_path / "voices" if request.param == "folder" else None)


def test_add_replace_and_delete(store):
    assert [item.name for item in store.list()] == [DEFAULT_VOICE] and store.get("default").built_in
    store.add(voice("zoe"))
    store.add(voice("ada"))
    store.add(voice("Bob"))
    assert [item.name for item in store.list()] == [DEFAULT_VOICE, "Bob", "ada", "zoe"]
    assert_same(store.get("ada"), voice("ada"))
    store.add(voice("ada", created_s=5.0), replace=True)
    assert store.get("ada").created_s == 5.0
    store.delete("ada")
    assert [item.name for item in store.list()] == [DEFAULT_VOICE, "Bob", "zoe"]


@pytest.mark.parametrize(
    ("act", "fault", "field"),
    [
        (lambda store: store.get("ada"), Reason.VOICE_NOT_FOUND, "name"),
        (lambda store: store.get("ada", "config.voice"), Reason.VOICE_NOT_FOUND, "config.voice"),
        (lambda store: store.delete("ada"), Reason.VOICE_NOT_FOUND, "name"),
        (lambda store: store.delete("default"), Reason.VOICE_BUILT_IN, "name"),
        (lambda store: store.add(voice("default")), Reason.VOICE_BUILT_IN, "name"),
        (lambda store: store.add(voice("default"), replace=True), Reason.VOICE_BUILT_IN, "name"),
        (lambda store: [store.add(voice()), store.add(other_voice())], Reason.VOICE_EXISTS, "name"),
        (lambda store: store.add(voice("../ada")), Reason.VALUE_INVALID, "name"),
    ],
)
def test_refusals(store, act, fault, field):
    with pytest.raises(CallerError) as caught:
        act(store)
    assert (caught.value.reason, caught.value.field) == (fault, field)


def test_an_equal_voice_is_not_added_again(store):
    first = store.add(voice())
    assert store.add(voice(created_s=9.0, description="")) is first is store.get("ada")
    assert store.taken("ada", first.content_id, replace=False) is first
    assert store.taken("ada", first.content_id, replace=True) is None
    assert store.taken("ada", None, replace=False) is None, "its content is not known yet"
    with pytest.raises(CallerError, match="^config.name: ") as caught:
        store.taken("ada", other_voice().content_id, replace=False, field="config.name")
    assert caught.value.reason is Reason.VOICE_EXISTS
    second = store.add(voice(created_s=9.0), replace=True)
    assert store.get("ada") is second is not first


def test_names_are_compared_in_their_composed_form(store):
    made = store.add(voice("Zoe\u0308"))
    assert made.name == "Zo\u00eb" and store.get("Zo\u00eb") is store.get("Zoe\u0308") is made
    assert store.add(voice("Zo\u00eb")) is made
    store.delete("Zoe\u0308")
    assert [item.name for item in store.list()] == [DEFAULT_VOICE]


def test_a_file_name_may_be_decomposed(tmp_path):
    """As some file systems return it."""
    VoiceStore(tmp_path).add(voice("Zo\u00eb"))
    [path] = tmp_path.iterdir()
    path.rename(tmp_path / "Zoe\u0308.safetensors")
    assert_same(VoiceStore(tmp_path).get("Zo\u00eb"), voice("Zo\u00eb"))


def test_a_restart_finds_the_same_voices(tmp_path):
    first = VoiceStore(tmp_path)
    first.add(voice("ada"))
    first.add(voice("bare", prepared={}))
    first.add(voice("gone"))
    first.delete("gone")
    second = VoiceStore(tmp_path)
    assert [item.name for item in second.list()] == [DEFAULT_VOICE, "ada", "bare"]
    assert_same(second.get("ada"), first.get("ada"))
    assert_same(second.get("bare"), first.get("bare"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ada.safetensors", "bare.safetensors"]


@pytest.mark.parametrize("name", ["ada", DEFAULT_VOICE])
def test_assets_survive_a_restart(tmp_path, name):
    first = VoiceStore(tmp_path)
    first.add(voice("ada"))
    made = first.update_assets(first.get(name), with_assets)
    assert made is first.get(name) and len(made.fillers) == 2
    second = VoiceStore(tmp_path)
    assert_same_assets(second.get(name), made)
    assert_same(second.get("ada"), first.get("ada"))
    assert [item.name for item in second.list()] == [DEFAULT_VOICE, "ada"]
    assert second.update_assets(made, with_assets) and len(VoiceStore(tmp_path).get(name).fillers) == 4


def test_updating_assets_changes_nothing_else(store):
    store.add(voice("ada"))
    store.update_assets(store.get("ada"), lambda now: replace(with_assets(now), prepared={}, created_s=9.0))
    assert_same(store.get("ada"), with_assets(voice("ada")))


def test_updating_assets_does_not_restore_a_voice(store):
    """The voice was deleted, or replaced, while its fillers were rendered."""
    store.add(voice("ada"))
    old = store.get("ada")
    store.add(voice("ada", created_s=2.0), replace=True)
    assert store.update_assets(old, with_assets) is None and not store.get("ada").fillers
    store.delete("ada")
    assert store.update_assets(old, with_assets) is None
    assert [item.name for item in store.list()] == [DEFAULT_VOICE]


def test_assets_are_updated_from_the_current_state(store):
    old = store.get(DEFAULT_VOICE)
    assert len(store.update_assets(old, with_assets).fillers) == 2
    assert len(store.update_assets(old, with_assets).fillers) == 4, "`change` is called with the current voice"


def test_unchanged_assets_are_not_written(tmp_path):
    store = VoiceStore(tmp_path)
    assert store.update_assets(store.get(DEFAULT_VOICE), lambda now: now) is store.get(DEFAULT_VOICE)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def full_store(tmp_path, monkeypatch):
    """A store with the voice "ada" on a full disk; no test may change its files."""
    store = VoiceStore(tmp_path)
    store.add(voice("ada"))
    before = (tmp_path / "ada.safetensors").read_bytes()

    def full(descriptor):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("os.fsync", full)
    yield store
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"ada.safetensors": before}


def test_a_failed_update_of_assets_leaves_the_voice_unchanged(full_store):
    with pytest.raises(OverloadError, match="the server's disk is full: nothing was changed"):
        full_store.update_assets(full_store.get("ada"), with_assets)
    assert not full_store.get("ada").fillers


def test_files_of_older_versions_load(tmp_path):
    VoiceStore(tmp_path).add(voice("ada"))
    path = tmp_path / "ada.safetensors"
    with safe_open(path, framework="numpy") as file:
        old = {key: value for key, value in file.metadata().items() if key not in NEW_KEYS}
    save_file(load_file(path), path, old)
    assert_same(VoiceStore(tmp_path).get("ada"), voice("ada", languages=(), description="", labels={}))


NEW_KEYS = ("fillers", "levels", "languages", "description", "labels")
ENTRY = (
    '{"text": "Oh!", "emotion": "sad", "language": "en", "sample_rate_hz": 16000, "cuts_ms": [9], "engine": "",'
    ' "fingerprint": ""}'
)
SOUND = {"filler.0": np.ones(144, np.float32)}


@pytest.mark.parametrize(
    ("tensors", "metadata", "reason"),
    [
        (SOUND, {"fillers": "[]"}, "'filler.0' belongs to no"),
        ({}, {"fillers": f"[{ENTRY}]"}, "filler.0"),
        (SOUND, {"fillers": ENTRY}, "fillers is a dict"),
        (SOUND, {"fillers": "[{}]"}, "filler 0 has the keys"),
        (SOUND, {"fillers": f"[{ENTRY}]".replace("sad", "cross")}, "the emotion 'cross'"),
        (SOUND, {"fillers": f"[{ENTRY}]".replace("[9]", "[]")}, "the cuts []"),
        (SOUND, {"fillers": f"[{ENTRY}]".replace("[9]", "[9, 4]")}, "the cuts [9, 4]"),
        (SOUND, {"fillers": f"[{ENTRY}]".replace("16000", "0")}, "no sound"),
        ({"filler.0": np.full(144, np.nan, np.float32)}, {"fillers": f"[{ENTRY}]"}, "no sound"),
        ({"filler.0": np.ones(144, np.float64)}, {"fillers": f"[{ENTRY}]"}, "filler 0 is float64"),
        ({}, {"levels": '{"voxcpm": {"fingerprint": "1", "loudness_db": NaN}}'}, "the level of voxcpm is nan"),
        ({}, {"levels": '{"voxcpm": {"loudness_db": -20.0}}'}, "fingerprint"),
        ({}, {"levels": "[1]"}, "levels is a list"),
    ],
)
@pytest.mark.parametrize("name", ["ada", DEFAULT_VOICE])
def test_invalid_assets_are_skipped_and_logged(tmp_path, caplog, tensors, metadata, reason, name):
    store = VoiceStore(tmp_path)
    store.add(voice("ada"))
    store.update_assets(store.get(DEFAULT_VOICE), lambda now: replace(now, levels={"voxcpm": Level("1", -20.0)}))
    spoil(tmp_path / ("ada.safetensors" if name == "ada" else "_default.safetensors"), tensors, **metadata)
    with caplog.at_level(logging.WARNING):
        again = VoiceStore(tmp_path)
    [message] = [record.getMessage() for record in caplog.records]
    assert reason in message, message
    assert [item.name for item in again.list()] == ([DEFAULT_VOICE] if name == "ada" else [DEFAULT_VOICE, "ada"])
    assert bool(again.get(DEFAULT_VOICE).levels) == (name == "ada")


def test_content_id_covers_samples_rate_and_transcript():
    base = recording()
    others = [
        replace(base, sample_rate_hz=16000),
        replace(base, transcript="Other."),
        replace(base, samples=base.samples[:-1]),
        replace(base, samples=-base.samples),
    ]
    assert len({content_id(item) for item in [base, recording(), *others]}) == 5
    assert len(content_id(base)) == 64


def spoil(path, tensors=None, **metadata):
    """Rewrite a voice file with other metadata or tensors."""
    with safe_open(path, framework="numpy") as file:
        old = file.metadata()
    kept = load_file(path)
    save_file(kept | (tensors or {}), path, {**old, **metadata})


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: path.write_bytes(b"nonsense"), "SafetensorError"),
        (lambda path: path.write_bytes(b""), "SafetensorError"),
        (lambda path: path.write_bytes(path.read_bytes()[:-10]), "SafetensorError"),
        (lambda path: save_file({"x": np.zeros(1)}, path), "format is None"),
        (lambda path: spoil(path, format="intone-voice-99"), "'intone-voice-99'"),
        (lambda path: spoil(path, name="eve"), "a voice named 'eve'"),
        (lambda path: spoil(path, created_s="soon"), "soon"),
        (lambda path: spoil(path, created_s="nan"), "created_s is nan"),
        (lambda path: spoil(path, created_s="1e300"), "created_s is 1e+300"),
        (lambda path: spoil(path, sample_rate_hz="0"), "samples at 0 Hz"),
        (lambda path: spoil(path, engines="[" * 100_000), "RecursionError"),
        (lambda path: spoil(path, engines="[]"), "engines is a list"),
        (lambda path: spoil(path, engines='{"voxcpm": 3, "indextts": 4}'), "TypeError"),
        (lambda path: [path.unlink(), path.mkdir()], "Error"),
        (lambda path: spoil(path, engines="{"), "JSONDecodeError"),
        (lambda path: spoil(path, engines='{"voxcpm": {}, "indextts": {}}'), "fingerprint"),
        (lambda path: spoil(path, transcript="Other words."), "content_id does not match"),
        (lambda path: spoil(path, languages='"en"'), "languages is 'en'"),
        (lambda path: spoil(path, languages="[1]"), "languages is [1]"),
        (lambda path: spoil(path, labels="[]"), "labels is []"),
        (lambda path: spoil(path, labels='{"team": 1}'), "labels is {'team': 1}"),
        (lambda path: spoil(path, name="a/b"), "U+002F"),
        (lambda path: spoil(path, {"recording": np.zeros(5, np.float64)}), "recording is float64"),
        (lambda path: spoil(path, {"other.array": np.zeros(5)}), "'other.array' belongs to no engine"),
        (lambda path: path.rename(path.with_name("default.safetensors")), "a voice named 'ada'"),
    ],
)
def test_invalid_files_are_skipped_and_logged(tmp_path, caplog, damage, reason):
    store = VoiceStore(tmp_path)
    store.add(voice("ada"))
    store.add(voice("bob"))
    damage(tmp_path / "ada.safetensors")
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with caplog.at_level(logging.WARNING):
        assert [item.name for item in VoiceStore(tmp_path).list()] == [DEFAULT_VOICE, "bob"]
    [message] = [record.getMessage() for record in caplog.records]
    assert str(tmp_path) in message and reason in message
    kept = {path.name.removesuffix(ASIDE_SUFFIX): path for path in tmp_path.iterdir()}
    assert {name: path.read_bytes() for name, path in kept.items() if path.is_file()} == files
    assert not list(tmp_path.glob("ada.safetensors"))  # a new voice of this name does not overwrite it


def test_a_failed_write_leaves_the_voice_unchanged(full_store):
    with pytest.raises(OverloadError, match="the server's disk is full: nothing was changed") as caught:
        full_store.add(voice("ada", created_s=1.0), replace=True)
    assert caught.value.reason is Reason.STORAGE_FULL
    assert full_store.get("ada").created_s == voice().created_s


def test_a_folder_that_cannot_be_written_is_told_without_its_path(tmp_path, monkeypatch):
    store = VoiceStore(tmp_path)
    store.add(voice("ada"))

    def read_only(*arguments, **named):
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    monkeypatch.setattr(atomic_write, "prepared", read_only)
    monkeypatch.setattr(Path, "unlink", read_only)
    for change in (lambda: store.add(voice("bob")), lambda: store.delete("ada")):
        with pytest.raises(StorageError, match="cannot write its folder of voices .Read-only file system.") as caught:
            change()
        assert str(tmp_path) not in str(caught.value)
        assert reason_of(to_status(caught.value)) == "STORAGE_FAILED"
    assert [item.name for item in store.list()] == [DEFAULT_VOICE, "ada"]


def test_unfinished_files_of_killed_servers_are_removed(tmp_path):
    old, new = (
        tmp_path / f"ada.safetensors.1234{TEMPORARY_SUFFIX}",
        tmp_path / f"bob.safetensors.5678{TEMPORARY_SUFFIX}",
    )
    for path in (old, new):
        path.write_bytes(b"half of a voi")
    long_ago_s = time.time() - 2 * atomic_write.ABANDONED_S
    os.utime(old, (long_ago_s, long_ago_s))
    assert [item.name for item in VoiceStore(tmp_path).list()] == [DEFAULT_VOICE]
    assert not old.exists() and new.exists()  # another server may be writing it
