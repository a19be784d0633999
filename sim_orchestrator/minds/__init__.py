"""Minds: what decides for an agent. A language model, a scripted archetype, or a recorded run."""
