"""An embedded language model behind Ollama's own HTTP API.

Real inference by llama.cpp on any GGUF file, in a process of its own, for machines without Ollama.
"""

from sim_orchestrator.local_model.errors import LocalModelError
from sim_orchestrator.local_model.model_file import DEFAULT_MODEL_NAME, open_model
from sim_orchestrator.local_model.process import LocalModel, running_server, start_local_model

__all__ = [
    "DEFAULT_MODEL_NAME",
    "LocalModel",
    "LocalModelError",
    "open_model",
    "running_server",
    "start_local_model",
]
