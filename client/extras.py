"""The error for optional dependencies that are not installed."""


class MissingExtraError(ImportError):
    """An optional dependency is not installed. The message says which extra to install."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs the extra {extra!r}: pip install 'intone[{extra}]'")
