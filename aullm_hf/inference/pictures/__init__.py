"""Pictures and sentences of a prediction."""
