"""`intone read`: what it shows of a text, as a table and as JSON, and what it says where packages are missing."""

import json
import sys

import pytest

from intone.client.__main__ import main
from intone.server.engines import phonemes
from intone.server.errors import CheckpointError


def read_json(capsys, *arguments):
    assert main(["read", *arguments, "--json", "--no-sounds"]) == 0
    return json.loads(capsys.readouterr().out)


def test_json(capsys):
    text = "Well [sigh] it costs $3.50. <break time='1s'/>[happy] See you on 2024-03-05."
    found = read_json(capsys, text)
    assert found["text"] == text
    assert [(cue["name"], cue["emotion"]) for cue in found["cues"]] == [("sigh", None), ("happy", "happy")]
    assert [pause["ms"] for pause in found["pauses"]] == [1000]
    first, second = found["units"]
    assert first["spoken"] == "Well it costs three dollars and fifty cents."
    assert second["spoken"] == "See you on March fifth twenty twenty four."
    for unit in found["units"]:
        for piece in unit["pieces"]:
            assert text[piece["start"] : piece["end"]] == piece["written"]
        assert set(unit["ms"]) == {"clean", "markup", "classes", "words"}
    assert [(p["written"], p["class"]) for p in first["pieces"] if p["class"] != "text"] == [("$3.50", "money")]


def test_the_language_of_the_conversation(capsys):
    assert read_json(capsys, "5", "--language", "zh")["units"][0]["spoken"] == "五"
    assert read_json(capsys, "5")["units"][0]["spoken"] == "five"


def test_formats(capsys):
    text = '<speak>Dr. <sub alias="No. One. Two">W3C</sub> now.</speak>'
    (unit,) = read_json(capsys, text, "--format", "ssml")["units"]
    assert unit["spoken"] == "Dr. No. One. Two now." and unit["pieces"][1]["class"] == "reading"
    assert read_json(capsys, "[sigh] Hi", "--format", "plain")["units"][0]["spoken"] == "sigh Hi"


def test_units_are_those_that_the_server_speaks(capsys):
    text = "I am fine [angry] but you <think>[sad] Hm.</think>are not.<break time='1s'/> It is 5."
    found = read_json(capsys, text)
    assert [(unit["emotion"], unit["spoken"]) for unit in found["units"]] == [
        (None, "I am fine"),
        ("angry", "but you are not."),
        ("angry", "It is five."),
    ]
    assert [cue["name"] for cue in found["cues"]] == ["angry"]
    assert main(["read", text, "--no-sounds"]) == 0
    assert "unit 2: characters 10–58, angry\n" in capsys.readouterr().out


def test_text_from_a_pipe(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin.read", lambda: "It is 5.")
    assert read_json(capsys, "-")["units"][0]["spoken"] == "It is five."


def test_table(capsys):
    assert main(["read", "[sigh] It costs $3.50.", "--no-sounds"]) == 0
    out = capsys.readouterr().out
    for expected in ("cue 'sigh' at 0–6: not spoken", "spoken   It costs three dollars", "$3.50", "16–21", "money"):
        assert expected in out


def test_nothing_to_read(capsys):
    assert main(["read", "", "--no-sounds"]) == 0
    assert "nothing to read" in capsys.readouterr().out


def test_malformed_ssml(capsys):
    assert main(["read", "a & b", "--format", "ssml"]) == 2
    assert "& at character 2 must be written &amp;" in capsys.readouterr().err


def test_without_the_text_package(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "intone.server.emotion.cues", None)
    assert main(["read", "Hi"]) == 1
    assert "reading a text needs the extra 'server': pip install 'intone[server]'" in capsys.readouterr().err


def test_without_a_phonemizer(capsys, monkeypatch):
    def missing(name, languages):
        raise CheckpointError("voxcpm", "hibari is not installed: pip install 'intone[starter]'")

    monkeypatch.setattr(phonemes, "phonemizer", missing)
    assert main(["read", "Hi"]) == 0
    captured = capsys.readouterr()
    assert "no sounds" in captured.err and "intone[starter]" in captured.err and "Hi" in captured.out


def test_sounds_are_those_of_the_context(capsys, monkeypatch):
    def phonemize(text):
        return text.replace("I read", "I RED").replace("重庆", "CHONG QING").replace("重", "ZHONG").replace("。", ".")

    monkeypatch.setattr(phonemes, "phonemizer", lambda name, languages: phonemize)
    assert main(["read", "I read 2. 去重庆。", "--json"]) == 0
    units = json.loads(capsys.readouterr().out)["units"]
    found = [(piece["written"], piece["sounds"]) for unit in units for piece in unit["pieces"]]
    assert found == [("I", "I"), ("read", "RED"), ("2", "two"), (".", ""), ("去重庆。", "去CHONG QING")]


@pytest.mark.slow
def test_sounds(capsys):
    pytest.importorskip("hibari")
    assert main(["read", '<phoneme ph="təˈmɑːtoʊ">tomato</phoneme> soup', "--format", "ssml", "--json"]) == 0
    (unit,) = json.loads(capsys.readouterr().out)["units"]
    assert unit["sounds"] == "təmˈɑtO sˈup." and unit["pieces"][0]["sounds"] == "təˈmɑːtoʊ"
