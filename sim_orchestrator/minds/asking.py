"""Minds that ask a model, once it is clear that its servers are there and have it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from sim_orchestrator.minds.base import Minds
from sim_orchestrator.minds.hosts import HostPool
from sim_orchestrator.minds.ollama import OllamaMind
from sim_orchestrator.settings import AgentSettings, Settings, check_context, whole_config


async def ask_models(
    agents: Sequence[AgentSettings],
    models: Mapping[str, str],
    hosts: Sequence[str],
    reach_hint: str,
    settings: Settings,
    stack: AsyncExitStack,
) -> Minds:
    """Check that the hosts have the models, and make the minds that ask them.

    Args:
        agents: who needs a mind.
        models: the model of each agent.
        hosts: the addresses of the servers.
        reach_hint: what to do when one can not be reached.
        settings: limits of the calls.
        stack: closes the connections.

    Raises:
        ModelsUnavailable: a host is not there, or no host has a model.
        SettingsError: a model reads too little for a prompt.
    """
    pool = HostPool(hosts, parallel=settings.parallel, reach_hint=reach_hint)
    stack.push_async_callback(pool.close)
    minds = Minds(models=await pool.check(sorted(set(models.values()))))
    config = whole_config(settings.world)
    unable = [model for model, described in minds.models.items() if not _may_think(described)]
    minds.notes += [
        f"{model} can not think before it answers: it is asked to answer at once"
        for model in unable
        if any(agent.think and models[agent.agent_id] == model for agent in agents)
    ]
    for agent in agents:
        model = models[agent.agent_id]
        options = dict(agent.options)
        longest = minds.models[model]["context_length"]
        if longest:
            # A server cuts a prompt that is longer than its model can read, without a word.
            options["num_ctx"] = min(options["num_ctx"], longest)
            check_context(agent, options["num_ctx"], config, f", all that {model} reads,")
        minds.by_agent[agent.agent_id] = OllamaMind(
            pool,
            model=model,
            options=options,
            # Ollama refuses every call that asks a model to think which can not.
            think=agent.think and model not in unable,
            timeout=settings.timeout,
        )
    return minds


def _may_think(described: Mapping[str, Any]) -> bool:
    """Tell whether a model may be asked to think; a server that is older does not say."""
    told = described["capabilities"]
    return told is None or "thinking" in told
