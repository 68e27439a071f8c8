"""The lines of the log: their form, the call that they belong to, and what they must not contain."""

import json
import logging
import re
import sys
import warnings

import pytest

from intone.server import logs
from intone.server.call_context import Call, set_call
from intone.server.config import Config
from intone.server.errors import ConfigError

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def log(capsys, monkeypatch):
    """`log(form)`: the root logger writes to standard error in this form; `log.lines()` are the lines so far."""
    root = logging.getLogger()
    handlers, level, show = root.handlers[:], root.level, warnings.showwarning

    class Log:
        def __call__(self, form):
            logs.configure("info", form)
            return logging.getLogger("intone.server.test")

        def lines(self):
            return capsys.readouterr().err.splitlines()

    yield Log()
    root.handlers[:] = handlers
    root.setLevel(level)
    warnings.showwarning = show


def raised(error, cause=None):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


def test_text_for_people(log):
    log("text").warning("voice %s is late", "ada", extra=logs.fields(voice="ada b", wait_ms=12.5, other=None, empty=""))
    (line,) = log.lines()
    assert re.fullmatch(
        rf'{TIME} WARNING intone\.server\.test: voice ada is late voice="ada b" wait_ms=12\.5 empty=""', line
    )


def test_json_for_programs(log):
    log("json").info("voice %s is late", "ada", extra=logs.fields(wait_ms=12.5, labels={"call": "c1"}))
    (line,) = map(json.loads, log.lines())
    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {
        "level": "info",
        "logger": "intone.server.test",
        "message": "voice ada is late",
        "wait_ms": 12.5,
        "labels": {"call": "c1"},
    }


@pytest.mark.parametrize("form", logs.FORMATS)
@pytest.mark.parametrize("words", ["two\nlines", "a\r\nb", "x\u2028y", "x\x85y", "\x1b[2J", "tab\tand \x00"])
def test_no_content_breaks_a_line(log, form, words):
    log(form).error("got %s", words, extra=logs.fields(value=words))
    (line,) = log.lines()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]", line)
    if form == "json":
        found = json.loads(line)
        assert found["message"] == f"got {words}" and found["value"] == words


def test_a_line_inside_a_call_has_its_id(log):
    import contextvars

    logger = log("json")

    def in_a_call():
        set_call(Call("order-17", "a/B", principal="ada", trace_id="ab" * 16))
        logger.info("inside")

    contextvars.copy_context().run(in_a_call)
    logger.info("outside")
    inside, outside = map(json.loads, log.lines())
    assert (inside["call"], inside["principal"], inside["trace"]) == ("order-17", "ada", "ab" * 16)
    assert not {"call", "principal", "trace"} & outside.keys()


@pytest.mark.parametrize("form", logs.FORMATS)
def test_tracebacks_have_no_values_that_libraries_quote(log, form):
    error = raised(RuntimeError("out of memory"), raised(ValueError("no reading for secret")))
    log(form).error("it failed", exc_info=error)
    lines = log.lines()
    whole = "\n".join(lines)
    assert "secret" not in whole and "ValueError" in whole and "RuntimeError: out of memory" in whole
    assert "in raised" in whole and "which led to" in whole
    if form == "json":
        assert len(lines) == 1 and json.loads(lines[0])["exception"].index("ValueError") > 0
    else:
        assert all(line.startswith("    ") for line in lines[1:])


def test_a_cycle_of_causes_ends():
    first, second = RuntimeError("a"), RuntimeError("b")
    first.__cause__, second.__cause__ = second, first
    assert logs.described(first) == "RuntimeError: b\nwhich led to\nRuntimeError: a"


def test_warnings_of_libraries_are_logged_once_without_their_words(log):
    log("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.hide_warnings()
        for word in ("secret", "words"):
            warnings.warn(f"cannot read {word}", UserWarning, stacklevel=1)
    lines = log.lines()
    assert len(lines) == 1 and "secret" not in lines[0]
    found = json.loads(lines[0])
    assert found["category"] == "UserWarning" and found["file"] == __file__ and found["line"] > 0


def test_a_record_of_another_process_has_its_number_and_its_traceback(log):
    logger = log("json")
    record = logging.LogRecord("intone.server.x", logging.ERROR, "f.py", 1, "it failed", None, None)
    record.process, record.exc_text = 4711, "Traceback\nRuntimeError"
    logger.handle(record)
    (line,) = map(json.loads, log.lines())
    assert line["pid"] == 4711 and line["exception"] == "Traceback\nRuntimeError"


def test_standard_error_is_looked_up_for_each_line(log, monkeypatch):
    import io

    logger, bars = log("text"), io.StringIO()
    monkeypatch.setattr(sys, "stderr", bars)
    logger.info("while a bar is shown")
    assert "while a bar is shown" in bars.getvalue()


def test_the_format_is_a_setting():
    assert Config.of(log_format="json").log_format == "json"
    with pytest.raises(ConfigError, match="log_format is 'xml'; it must be one of text, json"):
        Config.of(log_format="xml")
