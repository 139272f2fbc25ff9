"""The runner: one YAML file is one run, trained and tested fold by fold.

`launch` reads the command line and imports nothing that reads a launcher's variables; `loop` does the work.
"""
