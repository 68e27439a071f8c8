"""The subcommands of `intone`, one per module: parse arguments, call the library and its tools, return an exit code."""
