"""An engine in the same process, asked as an observer asks one over HTTP."""

from __future__ import annotations

import json
from typing import Any

from sim_engine.engine import Engine


class InProcess:
    """Answers an observer's questions."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def state(self) -> Any:
        return json.loads(self.engine.state())

    async def agent(self, agent_id: str) -> Any:
        return json.loads(self.engine.agent(agent_id, private=True))

    async def contract(self, contract_id: str) -> Any:
        return json.loads(self.engine.contract(contract_id, reader=None, operator=True))

    async def speech(self, turn: int) -> Any:
        return json.loads(self.engine.speech(turn))["messages"]
