"""The orchestrator: asks each agent's mind for its actions and submits the turns to the engine.

It owns prompts, models, parsing, budgets and transcripts. It owns no world state.
"""

__version__ = "0.1.0"
