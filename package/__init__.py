"""intone: a text-to-speech server for live conversation, and its client."""


def __getattr__(name: str) -> str:
    """`__version__`, which is read when it is asked for, because that takes some milliseconds."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version

    return version("intone")
