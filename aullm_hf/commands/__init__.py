"""The command line: one file per verb of `aullm`, each with `add_arguments(parser)` and `run(options)`."""
