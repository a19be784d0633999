"""Tests of the engine, driven through its HTTP contract."""
