"""Fuzzers, a small file each: `seeds()` makes valid inputs on the spot, `attempt(data)` does with bytes what users do.

An attempt that ends in anything but a result or a refusal (support/refusals.py) is a finding. `make fuzz` feeds them
by atheris, guided by coverage; test_targets.py by random mutations, in a few seconds.
"""

TARGETS = ("au_grammar", "configurations", "spreadsheets", "processor", "videos")
