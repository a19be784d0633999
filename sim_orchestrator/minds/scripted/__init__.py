"""Archetypes with no model: eight ways to live in the economy, seeded and fast."""

from sim_orchestrator.minds.scripted.mind import ARCHETYPES, ScriptedMind, archetype

__all__ = ["ARCHETYPES", "ScriptedMind", "archetype"]
