"""The engine's HTTP boundary."""
