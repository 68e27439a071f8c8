"""Fixtures of the tests of IndexTTS."""

import pytest

from tests.support.indextts_units import Subject


@pytest.fixture(scope="module", params=["nano", "nano-2"])
def subject(request: pytest.FixtureRequest) -> Subject:
    """A complete IndexTTS with random weights and a voice, of each generation."""
    return Subject.build(request.param)


@pytest.fixture(scope="module")
def newer() -> Subject:
    """As `subject`, of the newer generation only."""
    return Subject.build("nano")
