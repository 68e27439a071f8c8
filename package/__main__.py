"""The command `intone`, as it is installed: what has to be set before gRPC is imported."""

import os


def main() -> int:
    """Run `intone.client.__main__.main`; gRPC prints no lines of its own beside it, for instance about certificates."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # noqa: TID251 - the only way to tell gRPC, which reads it once
    from intone.client.__main__ import main as command

    return command()


if __name__ == "__main__":
    raise SystemExit(main())
