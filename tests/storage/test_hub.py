"""Checkpoints by the names of repositories, from a stand-in for the hub on the loopback."""

from dataclasses import replace

import pytest
from huggingface_hub import constants

from intone.server.errors import CheckpointError
from intone.server.storage import hub as hub_module
from intone.server.storage.hub import HubModel, HubName, cached, fetch, missing_folder
from tests.support.standin_hub import COMMIT, standin_hub

NOBODY = "http://127.0.0.1:9"
"""Nothing listens on the discard port."""

MODEL = HubModel(files=("config.json", "model.*"), names=("maker/Talk-1.5", "maker/Talk-2"))


@pytest.fixture
def repository(tmp_path):
    folder = tmp_path / "repository"
    (folder / "inner").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.bin").write_bytes(bytes(range(256)) * 400)
    (folder / "README.md").write_text("not downloaded")
    (folder / "inner" / "config.json").write_text('{"inner": 1}')
    return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    return folder


@pytest.fixture
def hub(repository, cache, monkeypatch):
    with standin_hub({"maker/Talk-1.5": repository}, gated=("maker/Gated",)) as running:
        monkeypatch.setattr(hub_module, "endpoint", lambda: running.url)
        yield running


def named(text: str) -> HubName:
    name = HubName.parse(text)
    assert name is not None
    return name


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("maker/Talk-1.5", ("maker/Talk-1.5", "", "")),
        ("maker/Talk-1.5@v2", ("maker/Talk-1.5", "", "v2")),
        ("maker/Talk/some/inner@refs/pr/1", ("maker/Talk", "some/inner", "refs/pr/1")),
    ],
)
def test_names_of_repositories(text, parts):
    name = named(text)
    assert (name.repository, name.folder, name.revision) == parts and str(name) == text


@pytest.mark.parametrize(
    "text", ["", "nano", "./nano", "~/models/Talk", "/models/Talk", "../a/b", "a/../b", "a\\b", "a/b c"]
)
def test_paths_are_no_names(text):
    assert HubName.parse(text) is None


def test_a_folder_that_exists_is_no_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "maker" / "Talk").mkdir(parents=True)
    assert HubName.parse("maker/Talk") is None and HubName.parse("maker/Other") is not None


def test_downloads_the_files_of_a_model_once(hub, repository):
    folder = fetch(named("maker/Talk-1.5"), MODEL, "model")
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.bin"]
    assert (folder / "model.bin").read_bytes() == (repository / "model.bin").read_bytes()
    sent = hub.sent
    assert fetch(named(f"maker/Talk-1.5@{COMMIT}"), MODEL, "model") == folder
    assert fetch(named("maker/Talk-1.5"), MODEL, "model") == folder
    assert hub.downloads("model.bin") == 1 and hub.sent == sent


def test_a_folder_of_a_repository(hub):
    folder = fetch(named("maker/Talk-1.5/inner"), MODEL, "model")
    assert [path.name for path in folder.iterdir()] == ["config.json"]
    assert (folder / "config.json").read_text() == '{"inner": 1}'


def test_an_interrupted_download_goes_on_where_it_was(hub, repository, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    hub.cut_after = 60_000
    folder = fetch(named("maker/Talk-1.5"), MODEL, "model")
    content = (repository / "model.bin").read_bytes()
    assert (folder / "model.bin").read_bytes() == content
    assert hub.downloads("model.bin") == 2 and hub.sent == len(content) + len("{}")


def test_without_a_network_the_cache_is_used(hub, monkeypatch):
    folder = fetch(named("maker/Talk-1.5"), MODEL, "model")
    requests = len(hub.requests)
    assert fetch(named("maker/Talk-1.5"), MODEL, "model", offline=True) == folder and len(hub.requests) == requests
    monkeypatch.setattr(hub_module, "endpoint", lambda: NOBODY)
    assert fetch(named("maker/Talk-1.5"), MODEL, "model") == folder
    assert list(cached("maker/Talk-1.5")) == [folder] and not list(cached("maker/Talk-2"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "maker/Talk-15",
            r"no folder maker/Talk-15, and the hub has no such repository.*did you mean 'maker/Talk-1\.5'\?",
        ),
        ("other/thing", r"no such repository.*Published are maker/Talk-1\.5, maker/Talk-2"),
        ("maker/Talk-1.5@v9", r"maker/Talk-1\.5 has no revision 'v9'"),
        ("maker/Gated", r"accept its terms: do so at http://127\.0\.0\.1:\d+/maker/Gated, and set HF_TOKEN"),
        ("maker/Talk-1.5/empty", r"maker/Talk-1\.5/empty has no such files as config\.json or model"),
    ],
)
def test_a_wrong_name_is_told(hub, text, message):
    with pytest.raises(CheckpointError, match=f"model: .*{message}"):
        fetch(named(text), MODEL, "model")


def test_without_a_network_the_error_says_what_to_run(cache, monkeypatch):
    monkeypatch.setattr(hub_module, "endpoint", lambda: NOBODY)
    with pytest.raises(
        CheckpointError, match=r"run `hf download maker/Talk-2 --local-dir DIR` where there is a network"
    ):
        fetch(named("maker/Talk-2"), MODEL, "model")
    with pytest.raises(
        CheckpointError, match=r"not in the cache, and hub_offline is set: run `hf download maker/Talk-2`"
    ):
        fetch(named("maker/Talk-2"), MODEL, "model", offline=True)
    with pytest.raises(CheckpointError, match=r"and hub_offline is set: did you mean 'maker/Talk-2'\?"):
        fetch(named("maker/Talk2"), MODEL, "model", offline=True)


def test_without_a_network_the_error_has_the_reason_alone(cache, monkeypatch):
    monkeypatch.setattr(hub_module, "endpoint", lambda: NOBODY)
    with pytest.raises(CheckpointError, match=rf"cannot download maker/Talk-2 from {NOBODY}: .*refused\. It takes"):
        fetch(named("maker/Talk-2"), MODEL, "model")


def test_a_full_disk_is_noticed_before_the_download(hub, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000})())
    with pytest.raises(CheckpointError, match=r"it takes 0\.1 MB, and .* has 0\.0 MB left: set HF_HOME"):
        fetch(named("maker/Talk-1.5"), MODEL, "model")
    assert not hub.downloads("model.bin")


@pytest.mark.parametrize(
    ("value", "meant"), [("Talk-2", "maker/Talk-2"), ("2", "maker/Talk-2"), ("talk-1.5", "maker/Talk-1.5")]
)
def test_a_missing_folder_suggests_a_repository(value, meant):
    assert f"there is no folder {value}; did you mean {meant!r}?" in str(missing_folder("model", value, MODEL))


def test_a_missing_folder_suggests_a_word_that_the_setting_takes():
    model = replace(MODEL, words=("nano",))
    assert "there is no folder nnao; did you mean 'nano'?" in str(missing_folder("model", "nnao", model))


def test_a_missing_folder_without_a_likeness():
    message = str(missing_folder("model", "/nowhere/at/all", MODEL))
    assert message == (
        "model: there is no folder /nowhere/at/all. It takes a folder, or a repository of the Hugging Face hub such as "
        "maker/Talk-1.5"
    )
