"""Which mind each agent gets, and the servers that the minds need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from sim_orchestrator.local_model import running_server
from sim_orchestrator.minds.base import Minds
from sim_orchestrator.minds.recorded import RecordedMind, Recording, load_recording
from sim_orchestrator.minds.scripted import ScriptedMind, archetype
from sim_orchestrator.settings import AgentSettings, Settings

OLLAMA_HINT: Final = (
    "start it with `ollama serve`, or name another with OLLAMA_HOST; "
    "without Ollama, --minds local thinks with an embedded model and --minds scripted with none"
)
LOCAL_HINT: Final = "the embedded model's server is away; its log is in the run's directory"


async def build_minds(
    settings: Settings, seed: str, log_path: Path, stack: AsyncExitStack
) -> Minds:
    """Make every agent's mind; servers and connections are closed with the stack.

    Args:
        settings: whose agents need minds.
        seed: the seed of scripted minds.
        log_path: where the embedded model's server writes.
        stack: closes what is opened here.

    Raises:
        ModelsUnavailable: a host is not there or lacks a model.
        TranscriptError: the recording can not be read.
    """
    minds = Minds()
    groups: dict[str, list[AgentSettings]] = {}
    for agent in settings.agents:
        groups.setdefault(agent.mind, []).append(agent)
    if "ollama" in groups or "local" in groups:
        await _build_asking(minds, groups, settings, log_path, stack)
    for place, agent in enumerate(settings.agents):
        if agent.mind != "scripted":
            continue
        minds.by_agent[agent.agent_id] = ScriptedMind(agent.archetype or archetype(place), seed)
    if "recorded" in groups:
        recording: Recording = load_recording(Path(settings.recording or ""))
        for agent in groups["recorded"]:
            minds.by_agent[agent.agent_id] = RecordedMind(recording)
    return minds


async def _build_asking(
    minds: Minds,
    groups: Mapping[str, Sequence[AgentSettings]],
    settings: Settings,
    log_path: Path,
    stack: AsyncExitStack,
) -> None:
    """Make the minds that ask a model."""
    # Ollama's client takes a quarter of a second to import: scripted runs should not wait for it.
    from sim_orchestrator.minds.asking import ask_models

    if "ollama" in groups:
        hosts = [part.strip() for part in settings.ollama_host.split(",") if part.strip()]
        models = {agent.agent_id: agent.model for agent in groups["ollama"]}
        minds.add(await ask_models(groups["ollama"], models, hosts, OLLAMA_HINT, settings, stack))
    if "local" in groups:
        longest = max(agent.options["num_ctx"] for agent in groups["local"])
        server = await stack.enter_async_context(
            running_server(settings.model_file, log_path=log_path, context_tokens=longest)
        )
        models = {agent.agent_id: server.model for agent in groups["local"]}
        minds.add(
            await ask_models(groups["local"], models, [server.url], LOCAL_HINT, settings, stack)
        )
