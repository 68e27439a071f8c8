"""The proto files pass lint and are commented; the committed stubs match them and load under protobuf 6 and 7."""

import importlib.metadata
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from intone.proto import generate

ROOT = Path(__file__).resolve().parents[2]
PROTO = ROOT / "proto"
BUF = Path(sysconfig.get_path("scripts")) / "buf"

# Emotions need no comment: it could only repeat the name.
EMOTIONS = ("HAPPY", "ANGRY", "SAD", "AFRAID", "DISGUSTED", "MELANCHOLIC", "SURPRISED", "CALM")
SELF_EXPLAINING = {f"EMOTION_LABEL_{emotion}" for emotion in EMOTIONS}


def buf(*arguments: str) -> str:
    done = subprocess.run([BUF, *arguments], cwd=PROTO, capture_output=True, text=True, timeout=60)
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
        for i in range(len(self.file.enum_type)):
            out += [value for value in self.values_missing(i) if value not in SELF_EXPLAINING]
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
from intone.proto import audio_pb2, emotion_pb2, speech_pb2, speech_pb2_grpc, voice_pb2, voice_pb2_grpc
text = speech_pb2.TextInput(utterance_id="u1", delta="h\\u00e9", end_of_utterance=True)
sent = speech_pb2.StreamSynthesizeRequest(text=text)
sent.text.emotion.vector.weights.extend([0.0] * 7 + [0.5])
sent.text.options.seed = 2**64 - 1
got = speech_pb2.StreamSynthesizeRequest.FromString(sent.SerializeToString())
assert got == sent and got.WhichOneof("request") == "text" and not got.text.options.HasField("steps")
assert speech_pb2_grpc.SpeechServiceStub and voice_pb2_grpc.VoiceServiceStub
assert voice_pb2.VoiceConfig(name="a").name == "a"
assert audio_pb2.AUDIO_ENCODING_ALAW == 4 and emotion_pb2.EMOTION_LABEL_CALM == 9
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
