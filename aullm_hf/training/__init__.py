"""The runner: one YAML file is one run, trained and tested fold by fold.

`launch` reads the command line and imports nothing that looks at the variables of a launcher; `loop` does the work.
"""
