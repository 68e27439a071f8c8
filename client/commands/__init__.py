"""The subcommands of `intone`, one a file: arguments in, library calls, words and exit codes out."""
