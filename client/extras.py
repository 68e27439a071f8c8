"""What is missing when an optional part of the package is used without being installed."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message says what to install."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the extra {extra!r}: pip install 'intone[{extra}]'")
