"""The built-in voices of engines in the store: what they share with "default", and what they keep for themselves."""

from dataclasses import replace

import numpy as np
import pytest

from intone.server.domain import Filler, Voice
from intone.server.errors import CallerError, Reason
from intone.server.voices.store import DEFAULT_VOICE, VoiceStore
from tests.voices.test_store import voice, with_assets


def test_built_in_voices_of_engines():
    """They come after "default", share what their engine has rendered for it, and cannot be replaced or deleted."""
    store = VoiceStore()
    store.add(voice("ada"))
    store.add_built_in(Voice("nano", engine="voxcpm"))
    assert [item.name for item in store.list()] == [DEFAULT_VOICE, "nano", "ada"]
    nano = store.get("nano")
    assert nano.built_in and nano.spoken_by("voxcpm", "any weights") and not nano.spoken_by("starter", "any weights")
    store.update_assets(store.get(DEFAULT_VOICE), with_assets)
    nano = store.get("nano")
    assert [one.engine for one in nano.fillers] == ["voxcpm"], "not the clip, which may be of another speaker"
    assert nano.levels == store.get(DEFAULT_VOICE).levels
    clip = Filler("Oh!", "neutral", "en", np.ones(500, np.float32), 16000, (32,))
    made = store.update_assets(nano, lambda now: replace(now, fillers=(*now.fillers, clip)))
    assert [one.engine for one in made.fillers] == ["", "voxcpm"]
    assert len(store.get(DEFAULT_VOICE).fillers) == 2
    for act in (lambda: store.delete("nano"), lambda: store.add(voice("nano"), replace=True)):
        with pytest.raises(CallerError) as caught:
            act()
        assert caught.value.reason is Reason.VOICE_BUILT_IN


def test_built_in_voices_of_engines_after_a_restart(tmp_path, caplog):
    """Their clips are found again. A voice of the same name that was made earlier stays."""
    first = VoiceStore(tmp_path)
    first.add(voice("Starter"))
    first.add_built_in(Voice("starter", engine="starter"))
    assert "starter cannot be asked for its own voice" in caplog.text
    first.add_built_in(Voice("nano", engine="voxcpm"))
    made = first.update_assets(first.get("nano"), with_assets)
    second = VoiceStore(tmp_path)
    assert [item.name for item in second.list()] == [DEFAULT_VOICE, "Starter"], "nano is not loaded yet"
    second.add_built_in(Voice("nano", engine="voxcpm"))
    assert [item.name for item in second.list()] == [DEFAULT_VOICE, "nano", "Starter"]
    assert len(made.fillers) == len(second.get("nano").fillers) == 2
