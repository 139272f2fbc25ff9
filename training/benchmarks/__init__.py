"""The parts of benchmark.py, a module each, and what they share."""
