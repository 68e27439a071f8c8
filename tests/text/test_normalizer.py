"""The normalizer of a stream: switched on it reads the text, switched off it collapses white space."""

from hypothesis import given, settings
from hypothesis import strategies as st

from intone.server.text.normalizer import Normalizer, WrittenText, as_written, collapse

NORMALIZE = Normalizer()
ODD = st.sampled_from([*"0159.,:/-+#%$€@&=*_\"'()[]|\\ \n中儿年月:", "No.", "p.m.", "\x00", "\ud800"])


def test_switched_on():
    assert NORMALIZE(" **5**\n dogs  😀 ") == "five, dogs"
    assert NORMALIZE("5", "zh") == "五"


def test_switched_off():
    assert as_written(WrittenText(" **5**\n dogs  😀 ")).spoken == "**5** dogs 😀"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30) | st.lists(ODD, max_size=25).map("".join))
def test_the_result_is_one_line_for_every_text(text):
    spoken = NORMALIZE(text)
    assert spoken == collapse(spoken)
