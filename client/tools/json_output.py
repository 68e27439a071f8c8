"""JSON lines on standard output, for programs."""

import json
import sys

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message


def write_json(values: object) -> None:
    """Write one line of JSON to standard output and flush it."""
    sys.stdout.write(json.dumps(values, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def write_message(message: Message) -> None:
    """Write a wire message as one line of JSON, including fields with default values."""
    write_json(MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))
