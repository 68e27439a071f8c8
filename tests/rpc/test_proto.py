"""The proto files pass lint, keep to the first version and are commented; the committed stubs match them."""

import importlib.metadata
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.rpc import code_pb2

from intone.proto import generate
from intone.server.errors import Reason
from intone.server.rpc.wire.status import CODES

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
BUF = Path(sysconfig.get_path("scripts")) / "buf"

# The first version, without comments. Only a new version of the protocol replaces it, by
#   buf build --exclude-source-info --path intone -o intone.v1.binpb    in proto/
FIRST_VERSION = PROTO / "intone.v1.binpb"

# Names of emotions need no comment: it could only repeat them.
EMOTIONS = ("happy", "angry", "sad", "afraid", "disgusted", "melancholic", "surprised", "calm")
SELF_EXPLAINING = {f"EmotionWeights.{emotion}" for emotion in EMOTIONS}


def buf(*arguments: str, folder: Path = PROTO) -> str:
    done = subprocess.run([BUF, *arguments], cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"buf {arguments[0]}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[descriptor_pb2.FileDescriptorProto]:
    """Descriptors of our files, with comments."""
    image = tmp_path_factory.mktemp("proto") / "intone.binpb"
    buf("build", "--as-file-descriptor-set", "-o", str(image))
    everything = descriptor_pb2.FileDescriptorSet.FromString(image.read_bytes()).file
    ours = [file for file in everything if file.name.startswith("intone/")]
    assert len(ours) == len(list(PROTO.glob("intone/v1/*.proto")))
    return ours


def test_lint():
    assert buf("lint") == ""


def test_clients_of_the_first_version_can_talk_to_this_one():
    assert buf("breaking", "--against", str(FIRST_VERSION)) == ""


BREAKING = {
    "a field with another number": ("int32 sample_count = 4;", "int32 sample_count = 14;"),
    "a field with another name": ("int64 offset_samples = 3;", "int64 offset = 3;"),
    "a field with another type": ("bytes data = 6;", "string data = 6;"),
    "a field that is gone": ("int32 grace_ms = 1;", ""),
    "an enum value with another number": ("SWITCH_OFF = 2;", "SWITCH_OFF = 3;"),
    "a number that is reserved no more": ("reserved 15;", ""),
    "a method that is gone": ("rpc AnalyzeEmotion(AnalyzeEmotionRequest) returns (AnalyzeEmotionResponse);", ""),
}


@pytest.mark.parametrize(("before", "after"), BREAKING.values(), ids=BREAKING)
def test_a_breaking_change_is_found(tmp_path, before, after):
    changed = shutil.copytree(PROTO, tmp_path / "proto") / "intone" / "v1" / "speech.proto"
    text = changed.read_text("utf8")
    assert before in text
    changed.write_text(text.replace(before, after, 1), "utf8")
    with pytest.raises(AssertionError, match=r"buf breaking:\s+intone/v1/speech\.proto:\d+:"):
        buf("breaking", "--against", str(FIRST_VERSION), folder=tmp_path / "proto")


def test_an_addition_is_not_breaking(tmp_path):
    changed = shutil.copytree(PROTO, tmp_path / "proto") / "intone" / "v1" / "speech.proto"
    text = changed.read_text("utf8")
    changed.write_text(text.replace("message Finish {}", "message Finish { int32 within_ms = 1; }"), "utf8")
    assert changed.read_text("utf8") != text
    assert buf("breaking", "--against", str(FIRST_VERSION), folder=tmp_path / "proto") == ""


def test_package_carries_its_version_and_is_its_folder(files):
    for file in files:
        assert file.package == "intone.v1"
        assert Path(file.name).parent.as_posix() == file.package.replace(".", "/")


def test_enums_have_prefixes_and_a_zero(files):
    for enum in (enum for file in files for enum in file.enum_type):
        prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in enum.name).lstrip("_") + "_"
        assert [value.name for value in enum.value if value.number == 0] == [f"{prefix}UNSPECIFIED"]
        assert [value.name for value in enum.value if not value.name.startswith(prefix)] == []


def test_requests_and_responses_belong_to_one_method(files):
    used = []
    for service in (service for file in files for service in file.service):
        assert service.name.endswith("Service")
        for method in service.method:
            assert method.input_type == f".intone.v1.{method.name}Request"
            assert method.output_type == f".intone.v1.{method.name}Response"
            used += [method.input_type, method.output_type]
    assert len(used) == len(set(used)) > 0


class Comments:
    """The commented elements of a file. Paths are those of SourceCodeInfo: field numbers and indices, alternating."""

    def __init__(self, file: descriptor_pb2.FileDescriptorProto) -> None:
        self.file = file
        places = file.source_code_info.location
        self.paths = {tuple(place.path) for place in places if place.leading_comments or place.trailing_comments}

    def missing(self, explained: set[str]) -> list[str]:
        """Elements without a comment; `test_everything_is_explained` says which need one."""
        out = []
        for i, service in enumerate(self.file.service):
            out += self.unless((6, i), service.name)
            out += [name for j, m in enumerate(service.method) for name in self.unless((6, i, 2, j), m.name)]
        for i, message in enumerate(self.file.message_type):
            if not message.name.endswith(("Request", "Response")):
                out += self.unless((4, i), message.name)
            for j, field in enumerate(message.field):
                if field.name not in explained and field.type_name.rpartition(".")[2] not in explained:
                    out += self.unless((4, i, 2, j), f"{message.name}.{field.name}")
        out = [name for name in out if name not in SELF_EXPLAINING]
        for i in range(len(self.file.enum_type)):
            out += self.values_missing(i)
        return [f"{self.file.name}: {name}" for name in out]

    def unless(self, path: tuple[int, ...], name: str) -> list[str]:
        return [] if path in self.paths else [name]

    def values_missing(self, i: int) -> list[str]:
        values = enumerate(self.file.enum_type[i].value)
        return [value.name for j, value in values if value.number and (5, i, 2, j) not in self.paths]

    def explained(self) -> set[str]:
        """Names that a comment explains: message types, enums whose values are explained, and fields."""
        names = {message.name for i, message in enumerate(self.file.message_type) if (4, i) in self.paths}
        names |= {enum.name for i, enum in enumerate(self.file.enum_type) if not self.values_missing(i)}
        for i, message in enumerate(self.file.message_type):
            names |= {field.name for j, field in enumerate(message.field) if (4, i, 2, j) in self.paths}
        return names


def test_everything_is_explained(files):
    """Every service, method, message, field and enum value has a comment.

    Excepted: requests and responses (their method is explained), a field whose type or whose name is explained where it
    stands elsewhere (one name means one thing), and an enum's zero, which means "absent".
    """
    comments = [Comments(file) for file in files]
    explained = set().union(*(of_file.explained() for of_file in comments))
    missing = [name for of_file in comments for name in of_file.missing(explained)]
    assert not missing, "write a comment above:\n" + "\n".join(missing)


def test_missing_comments_are_found(files):
    bare = [descriptor_pb2.FileDescriptorProto.FromString(file.SerializeToString()) for file in files]
    for file in bare:
        file.ClearField("source_code_info")
    missing = [name for file in bare for name in Comments(file).missing(set())]
    assert {"intone/v1/speech.proto: StreamSynthesize", "intone/v1/speech.proto: Started.seed"} <= set(missing)
    assert "intone/v1/speech.proto: DONE_REASON_FAILED" in missing


def test_numbers_that_json_and_every_language_can_hold(files):
    """No unsigned integers: many languages have none. 64 bits only where 32 may not do: JSON makes them strings."""
    integers = descriptor_pb2.FieldDescriptorProto
    refused = {integers.TYPE_UINT32, integers.TYPE_UINT64, integers.TYPE_FIXED32, integers.TYPE_FIXED64}
    fields = [(message.name, field) for file in files for message in file.message_type for field in message.field]
    assert [f"{message}.{field.name}" for message, field in fields if field.type in refused] == []
    wide = {field.name for _, field in fields if field.type == integers.TYPE_INT64}
    assert wide <= {
        "sample",
        "seed",
        "offset_samples",
        "sample_count",
        "start_sample",
        "end_sample",
        "heard_samples",
        "request_index",
        *(field.name for message, field in fields if message == "Usage"),
    }


def documented_codes(files) -> dict[str, str]:
    """Status code of each reason, as the comment above it names it."""
    (errors,) = [file for file in files if file.name.endswith("errors.proto")]
    (enum,) = errors.enum_type
    comments = {tuple(place.path): place.leading_comments for place in errors.source_code_info.location}
    found = {}
    for index, value in enumerate(enum.value):
        if value.number:
            code = re.match(r" \[([A-Z_]+)\] \S", comments[5, 0, 2, index])
            assert code, f"the comment of {value.name} does not begin with its status code"
            found[value.name.removeprefix("ERROR_REASON_")] = code[1]
    return found


def test_every_reason_of_the_server_is_documented_with_its_status_code(files):
    codes = {reason.name: code_pb2.Code.Name(code) for reason, code in CODES.items()}
    assert codes == documented_codes(files)
    assert {reason.name for reason in Reason} == codes.keys()


def test_every_reason_is_expected_by_a_test():
    tests = "".join(
        path.read_text("utf8") for folder in ("rpc", "voices") for path in (ROOT / "tests" / folder).glob("*.py")
    )
    expected = set(re.findall(r"\"([A-Z_]+)\"|Reason\.([A-Z_]+)", tests))
    assert {reason.name for reason in Reason} - {name for names in expected for name in names} == set()


def installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def test_stubs_are_up_to_date(require, tmp_path):
    tools = installed("grpcio-tools")
    require("oracle", tools == generate.TOOLS, f"grpcio-tools {generate.TOOLS} is not installed (found {tools})")
    # In a process of its own: protoc's messages go past Python's stderr.
    command = [sys.executable, "-m", "intone.proto.generate", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*_pb2*.py*")}
    kept = {path.relative_to(PROTO): path.read_bytes() for path in PROTO.rglob("*_pb2*.py*") if path.suffix != ".pyc"}
    assert made.keys() == kept.keys()
    stale = [str(path) for path in made if made[path] != kept[path]]
    assert not stale, f"not what the .proto files give: {stale}; run `make proto`"


ROUND_TRIP = """
import sys
sys.path.insert(0, sys.argv[1])
import google.protobuf
assert google.protobuf.__version__.startswith(sys.argv[2]), google.protobuf.__version__
from intone.proto import audio_pb2, emotion_pb2, errors_pb2, speech_pb2, speech_pb2_grpc, voice_pb2, voice_pb2_grpc
text = speech_pb2.TextInput(utterance_id="u1", delta="h\\u00e9", end_of_utterance=True)
sent = speech_pb2.StreamSynthesizeRequest(text=text)
got = speech_pb2.StreamSynthesizeRequest.FromString(sent.SerializeToString())
assert got == sent and got.WhichOneof("request") == "text" and not got.text.HasField("text_offset")
sent = speech_pb2.StreamSynthesizeRequest(start=speech_pb2.StartUtterance(utterance_id="u1"))
sent.start.settings.emotion.weights.calm = 0.5
sent.start.settings.seed = 2**53 - 1
sent.start.settings.engine_parameters["steps"] = 4
got = speech_pb2.StreamSynthesizeRequest.FromString(sent.SerializeToString())
assert got == sent and got.WhichOneof("request") == "start" and not got.start.settings.HasField("speed")
assert speech_pb2_grpc.SpeechServiceStub and voice_pb2_grpc.VoiceServiceStub
assert voice_pb2.VoiceConfig(name="a").name == "a"
assert emotion_pb2.Emotion(label="sad").WhichOneof("kind") == "label"
assert audio_pb2.AUDIO_ENCODING_ALAW == 4 and errors_pb2.ERROR_REASON_IDLE == 11
print(google.protobuf.__version__)
"""


@pytest.mark.parametrize(("major", "wanted"), [("6.", "protobuf>=6.31.1,<7"), ("7.", "protobuf>=7,<8")])
def test_stubs_load_under(require, tmp_path, major, wanted):
    target = ROOT / "build" / "protobuf" / major.rstrip(".")  # kept between runs
    if not (target / "google" / "protobuf").exists():
        pip = [sys.executable, "-m", "pip", "install", "-qq", "--no-deps", "--target", str(target), wanted]
        done = subprocess.run(pip, capture_output=True, text=True, timeout=300)
        require("protobuf", done.returncode == 0, f"pip could not get {wanted}: {done.stderr[-300:]}")
    command = [sys.executable, "-W", "error", "-c", ROUND_TRIP, str(target), major]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(major)
