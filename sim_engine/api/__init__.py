"""The HTTP boundary: who may ask, how much at once, and how answers and errors look."""
