"""`intone voices`, `intone voices fillers` and `intone emotion` against a scripted server."""

import json
from pathlib import Path

from intone.client.__main__ import main
from intone.proto import voice_pb2
from tests.support.scripted_server import scripted_server


def lines(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


def test_voices(capsys, tmp_path: Path):
    recording = tmp_path / "ada.wav"
    recording.write_bytes(bytes(100_000))
    described = ["--language", "en", "--language", "fr", "--label", "style=slow"] + ["--description", "calm [low]"]
    with scripted_server() as server:
        there = ["--server", server.target]
        assert main(["voices", "create", "ada", str(recording), "--transcript", "my words", *described, *there]) == 0
        captured = capsys.readouterr()
        for text in (
            "my words",
            "calm [low]",
            "en fr",
            "style=slow",
            "starter (cloned)",
            "1.50 s",
            "2001-09-09",
            "studio",
        ):
            assert text in captured.out
        assert "it was cut [recording_cut]" in captured.err
        assert main(["voices", "create", "ada", str(recording), *there]) == 1
        assert "--replace" in capsys.readouterr().err
        assert main(["voices", "list", *there]) == 0
        output = capsys.readouterr().out
        assert "ada" in output and "owner" in output and "studio" in output
        server.voices |= {name: voice_pb2.Voice(name=name) for name in ("bob", "eve")}  # on a second page
        assert main(["voices", "list", "--json", *there]) == 0
        assert [voice["name"] for voice in lines(capsys.readouterr().out)] == ["ada", "bob", "eve"]
        for name in ("bob", "eve"):
            assert main(["voices", "delete", name, *there]) == 0
        capsys.readouterr()
        assert main(["voices", "list", "--json", *there]) == 0
        (listed,) = lines(capsys.readouterr().out)
        assert (listed["name"], listed["owner"]) == ("ada", "studio")
        assert listed["engines"] == [{"engine": "starter", "fidelity": "cloned"}]
        assert main(["voices", "show", "ada", "--json", *there]) == 0
        assert lines(capsys.readouterr().out)[0]["transcript"] == "my words"
        assert main(["voices", "share", "ada", "agent", "bob", *there]) == 0
        assert "agent, bob" in capsys.readouterr().out
        assert main(["voices", "share", "ada", "--json", *there]) == 0
        assert lines(capsys.readouterr().out)[0]["shared_with"] == []
        assert main(["voices", "delete", "ada", *there]) == 0
        assert main(["voices", "show", "ada", *there]) == 1
        assert "intone voices list" in capsys.readouterr().err
    assert sum(len(request.audio) for request in server.uploads[0]) == 100_000


def test_fillers_of_a_voice(capsys, tmp_path: Path):
    for name, size in (("a.wav", 400), ("b.wav", 500)):
        (tmp_path / name).write_bytes(bytes(size))
    command = ["voices", "fillers", "ada"]
    adding = ["--add", str(tmp_path / "a.wav"), str(tmp_path / "b.wav"), "--emotion", "sad", "--language", "zh"]
    with scripted_server() as server:
        there = ["--server", server.target]
        server.voices["ada"] = voice_pb2.Voice(name="ada")
        assert main([*command, *there]) == 0
        assert "no fillers" in capsys.readouterr().out
        assert main([*command, *adding, "--text", "Oh", "Hmm", *there]) == 0
        output = capsys.readouterr().out
        assert "Hmm" in output and "sad" in output and "500 ms" in output
        assert main([*command, *there, "--json"]) == 0
        assert [filler["text"] for filler in lines(capsys.readouterr().out)] == ["Oh", "Hmm"]
        assert main([*command, *adding, "--text", "Oh", *there]) == 2
        assert "2 recordings but 1 texts" in capsys.readouterr().err
        fillers = server.voices["ada"].fillers
        assert [(filler.language, filler.emotion) for filler in fillers] == [("zh", "sad")] * 2
        assert main([*command, "--remove", "--text", "Oh", "--language", "zh", "--json", *there]) == 0
        captured = capsys.readouterr()
        assert [filler["text"] for filler in lines(captured.out)] == ["Hmm"]
        assert "removed 1 fillers" in captured.err
        assert main([*command, "--remove", *there]) == 0
        assert "removed 1 fillers" in capsys.readouterr().err


def test_emotion_of_a_text(capsys):
    with scripted_server() as server:
        assert main(["emotion", "so", "great", "--server", server.target]) == 0
        output = capsys.readouterr().out
        assert "happy, intensity 0.75" in output and "8 characters of joy" in output and "█" in output
        assert main(["emotion", "great", "--json", "--server", server.target]) == 0
        assert lines(capsys.readouterr().out)[0]["label"] == "happy"
        assert main(["emotion", "bad", "--server", server.target]) == 1
        assert "reads no emotions" in capsys.readouterr().err
