"""Which mind each agent gets, and the servers that the minds need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sim_orchestrator.local_model import running_server
from sim_orchestrator.minds.base import Mind
from sim_orchestrator.minds.hosts import HostPool
from sim_orchestrator.minds.ollama import OllamaMind
from sim_orchestrator.minds.recorded import RecordedMind, Recording, load_recording
from sim_orchestrator.minds.scripted import ARCHETYPES, ScriptedMind, archetype
from sim_orchestrator.options import SettingsError
from sim_orchestrator.settings import AgentSettings, Settings

OLLAMA_HINT: Final = (
    "start it with `ollama serve`, or name another with OLLAMA_HOST; "
    "without Ollama, --minds local thinks with an embedded model and --minds scripted with none"
)
LOCAL_HINT: Final = "the embedded model's server has ended; its log is in the run's directory"


@dataclass(slots=True)
class Minds:
    """The minds of a run, and what is known of their models."""

    by_agent: dict[str, Mind] = field(default_factory=dict)
    models: dict[str, dict[str, Any]] = field(default_factory=dict)


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
        SettingsError: an agent has an archetype that does not exist.
        TranscriptError: the recording can not be read.
    """
    minds = Minds()
    groups: dict[str, list[AgentSettings]] = {}
    for agent in settings.agents:
        groups.setdefault(agent.mind, []).append(agent)
    if "ollama" in groups:
        hosts = [part.strip() for part in settings.ollama_host.split(",") if part.strip()]
        pool = await _pool(hosts, OLLAMA_HINT, settings, stack)
        names = {agent.agent_id: agent.model for agent in groups["ollama"]}
        await _ask_models(minds, pool, groups["ollama"], names, settings)
    if "local" in groups:
        server = await stack.enter_async_context(
            running_server(settings.model_file, log_path=log_path)
        )
        pool = await _pool([server.url], LOCAL_HINT, settings, stack)
        names = {agent.agent_id: server.model for agent in groups["local"]}
        await _ask_models(minds, pool, groups["local"], names, settings)
    for agent in groups.get("scripted", ()):
        place = settings.agent_ids.index(agent.agent_id)
        role = agent.archetype or archetype(place)
        if role not in ARCHETYPES:
            raise SettingsError(
                f"agent {agent.agent_id} has the archetype {role!r}: "
                f"choose one of {', '.join(ARCHETYPES)}"
            )
        minds.by_agent[agent.agent_id] = ScriptedMind(role, seed)
    if "recorded" in groups:
        recording: Recording = load_recording(Path(settings.recording or ""))
        for agent in groups["recorded"]:
            minds.by_agent[agent.agent_id] = RecordedMind(recording)
    return minds


async def _pool(
    hosts: Sequence[str], hint: str, settings: Settings, stack: AsyncExitStack
) -> HostPool:
    pool = HostPool(hosts, parallel=settings.parallel, reach_hint=hint)
    stack.push_async_callback(pool.close)
    return pool


async def _ask_models(
    minds: Minds,
    pool: HostPool,
    agents: Sequence[AgentSettings],
    names: Mapping[str, str],
    settings: Settings,
) -> None:
    """Check that the hosts have the models, and make the minds that ask them."""
    described = await pool.check(sorted(set(names.values())))
    minds.models.update(described)
    for agent in agents:
        model = names[agent.agent_id]
        options = dict(agent.options)
        longest = described[model]["context_length"]
        if longest:
            # A server cuts a prompt that is longer than its model can read, without a word.
            options["num_ctx"] = min(options["num_ctx"], longest)
        minds.by_agent[agent.agent_id] = OllamaMind(
            pool, model=model, options=options, think=agent.think, timeout=settings.timeout
        )
