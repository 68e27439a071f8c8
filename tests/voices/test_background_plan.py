"""What voices lack and who gives it to them; clips of the user come first."""

import pytest

from intone.server.domain import EMOTIONS
from intone.server.routing.router import Router
from intone.server.voices.background import with_clips, with_rendered
from intone.server.voices.background_plan import Plan, full
from intone.server.voices.filler_phrases import FEELINGS
from intone.server.voices.store import VoiceStore
from tests.support.background import clip, filler, voice
from tests.support.fakes import ScriptedWorker


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_full_weight(emotion):
    assert full(emotion).label == ("neutral" if emotion == "calm" else emotion)
    assert max(full(emotion).weights) == full(emotion).intensity == 1.0 and sum(full(emotion).weights) == 1.0


def worker(name, **changes):
    return ScriptedWorker(name=name, **changes)


def plan_of(*workers):
    return Plan({one.info.name: one for one in workers}, Router().plain_engine([one.info for one in workers]))


def renderers(workers, voices):
    """(voice, emotion, language) → engine."""
    tasks = plan_of(*workers).filler_tasks(voices)
    return {(task.voice.name, task.emotion, task.language): task.engine for task in tasks}


DEFAULT = VoiceStore().get("default")


@pytest.mark.parametrize(
    ("workers", "name", "expected"),
    [
        ([worker("voxcpm"), worker("indextts", voices_emotion=True)], "default", ("voxcpm", "indextts")),
        ([worker("voxcpm"), worker("indextts", voices_emotion=True)], "ada", ("voxcpm", "voxcpm")),
        ([worker("starter"), worker("indextts", voices_emotion=True)], "default", ("starter", "indextts")),
        ([worker("starter"), worker("voxcpm", trained=False)], "default", ("starter", "starter")),
        ([worker("voxcpm", trained=False), worker("starter")], "ada", (None, None)),
        ([worker("voxcpm", trained=False)], "ada", (None, None)),
        ([worker("voxcpm", languages=("zh",)), worker("starter", languages=("en-US",))], "default", ("starter",) * 2),
        ([worker("voxcpm", languages=("zh",))], "default", (None, None)),
    ],
    ids=[
        "each its own",
        "only who has the voice",
        "no plain engine by that name",
        "an untrained one is passed over",
        "even where it alone has the voice",
        "even where it is alone",
        "who knows the language",
        "nobody knows it",
    ],
)
def test_who_renders(workers, name, expected):
    found = renderers(workers, [DEFAULT, voice()])
    assert (found.get((name, "neutral", "en")), found.get((name, "sad", "en"))) == expected


def test_levels_come_first_and_neutral_fillers_before_those_of_emotions():
    plan = plan_of(worker("starter"), worker("voxcpm"))
    assert [(task.voice.name, task.engine) for task in plan.level_tasks([DEFAULT, voice()])] == [
        ("default", "voxcpm"),
        ("default", "starter"),
        ("ada", "voxcpm"),
    ]
    order = [(task.emotion, task.voice.name) for task in plan.filler_tasks([DEFAULT, voice()])]
    assert order[:4] == [("neutral", "default")] * 2 + [("neutral", "ada")] * 2 and order[4][0] == FEELINGS[1]


def test_clips_of_the_user_are_never_replaced():
    made = with_rendered(DEFAULT, [filler("Oh.", "sad"), filler("Hmm.", "neutral")])
    given = with_clips(made, [clip("Ach.", "sad", "en-GB")])
    assert {one.text for one in given.fillers} == {"Ach.", "Hmm."}
    again = with_rendered(given, [filler("Oh dear.", "sad"), filler("Hmm.", "neutral"), filler("唉。", "sad", "zh")])
    assert {one.text for one in again.fillers} == {"Ach.", "Hmm.", "唉。"}
    assert ("default", "sad", "en") not in renderers([worker("voxcpm")], [again])
    assert ("default", "sad", "zh") in renderers([worker("voxcpm")], [again])
    louder = clip("Ach.", "sad", "en-GB", level=0.5)
    assert [one for one in with_clips(again, [louder]).fillers if one.text == "Ach."] == [louder]
