"""Examples for the OpenAPI document. A test holds each against the schema that it stands beside."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

from sim_engine.types.config import Config

Json = dict[str, Any]

_HASH: Final = "b6c84657330388bc70864f583a93ac47c54f0e4e8a966b97224a148cd7ebb38d"
_PARENT: Final = "4f0a3c5d0d3e3b3f8f5c7c8d1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"

INIT_REQUESTS: Final[dict[str, Json]] = {
    "smallest": {"agents": ["agent_0", "agent_1"]},
    "with everything": {
        "seed": "demo-1",
        "agents": ["agent_0", {"agent_id": "agent_1", "balance": 12_000}],
        "config": {"action_points": 6},
        "agent_keys": True,
    },
}

_INIT_ANSWER: Final[Json] = {
    "turn": 0,
    "turn_hash": _HASH,
    "genesis_hash": _PARENT,
    "agents": 2,
    "config": asdict(Config()),
}

TURN_REQUESTS: Final[dict[str, Json]] = {
    "two actions": {
        "turn": 7,
        "submissions": [
            {
                "agent_id": "agent_0",
                "actions": [
                    {"type": "mine"},
                    {"type": "transfer", "to": "agent_1", "amount": 50, "fee": 2},
                ],
                "inference": {
                    "output_tokens": 312,
                    "prompt_tokens": 1_800,
                    "model": "gemma3:27b",
                    "duration_ms": 5_100,
                },
            }
        ],
    },
    "a loan": {
        "submissions": [
            {
                "agent_id": "agent_0",
                "actions": [
                    {
                        "type": "propose_contract",
                        "contract_type": "loan",
                        "counterparty": "agent_1",
                        "arbitrator": "agent_2",
                        "duration": 5,
                        "counterparty_collateral": 100,
                        "terms": {"lender": "proposer", "principal": 1_000, "repayment": 1_100},
                    }
                ],
            }
        ]
    },
    "nobody acts": {"submissions": []},
}

_RECEIPTS: Final[list[Json]] = [
    {"agent_id": "agent_0", "index": 0, "type": "mine", "status": "applied"},
    {
        "agent_id": "agent_0",
        "index": 1,
        "type": "transfer",
        "status": "rejected",
        "code": "insufficient_funds",
        "message": "transfer of 50 needs 50 tokens, balance is 31",
    },
]

_SUPPLY: Final[Json] = {"issued": 90_000, "destroyed": 1_200, "circulating": 88_800}

_BLOCK_IN_TURN: Final[Json] = {
    "hash": _HASH,
    "kind": "mine",
    "height": 9,
    "parent_hash": _PARENT,
    "producer": "agent_0",
    "status": "canonical",
    "reward": 1_602,
}

_BLOCK: Final[Json] = {**_BLOCK_IN_TURN, "turn": 7}

_TURN_ANSWER: Final[Json] = {
    "turn": 7,
    "turn_hash": _HASH,
    "receipts": _RECEIPTS,
    "blocks": [_BLOCK_IN_TURN],
    "billing": {
        "output_tokens": 2_400,
        "commons": 1_200,
        "billed_tokens": 1_200,
        "fees": 1_200,
        "dividends": [{"core_id": 0, "owner": "agent_3", "amount": 300}],
    },
    "supply": _SUPPLY,
}

QUEUE_REQUESTS: Final[dict[str, Json]] = {
    "one action": {
        "agent_id": "agent_0",
        "actions": [{"type": "speak", "message": "I lend at 5 percent"}],
        "idempotency_key": "agent_0-17",
    }
}

_QUEUE_ANSWER: Final[Json] = {"agent_id": "agent_0", "ids": [41], "for_turn": 8}

_AGENT: Final[Json] = {
    "agent_id": "agent_0",
    "balance": 48_650,
    "staked": 1_000,
    "stake_since": 3,
    "unbonding": [{"amount": 200, "release_turn": 9}],
    "burn_score": 0,
    "study_level": 1,
    "study_progress": 0,
    "cores": [0],
    "suspended": False,
    "contracts_settled": 1,
    "contracts_defaulted": 0,
    "disputes_lost": 0,
    "rulings_made": 0,
    "rulings_missed": 0,
    "blocks_won": 2,
}

_ONE_AGENT: Final[Json] = {
    **_AGENT,
    "private": {
        "insights": [{"learned_turn": 6, "about_turn": 8, "job_fund": 2_950}],
        "information": [{"contract_id": "c3", "title": "wages", "content": "turn 9 pays well"}],
        "receipts": _RECEIPTS,
    },
}

_CONTRACT: Final[Json] = {
    "contract_id": "c1",
    "contract_type": "loan",
    "settlement": "automatic",
    "status": "active",
    "proposer": "agent_0",
    "counterparty": "agent_1",
    "arbitrator": "agent_2",
    "terms": {"lender": "proposer", "principal": 1_000, "repayment": 1_100},
    "signatures": {"agent_0": 4, "agent_1": 5, "agent_2": 5},
    "duration": 5,
    "proposed_turn": 4,
    "activated_turn": 5,
    "due_turn": 10,
    "ended_turn": None,
    "proposer_collateral": 0,
    "counterparty_collateral": 100,
    "arbitrator_collateral": 250,
    "arbitrator_fee": 50,
    "escrow": 400,
    "confirmations": {},
    "dispute": None,
    "ruling": None,
}

_STATE: Final[Json] = {
    "turn": 7,
    "turn_hash": _HASH,
    "agents": [_AGENT],
    "cores": [{"core_id": 0, "owner": "agent_0"}, {"core_id": 1, "owner": None}],
    "chain": {"height": 9, "tip_hash": _HASH, "mine_difficulty": 803},
    "supply": _SUPPLY,
    "fees": 0,
    "commons": 1_200,
    "job_fund": 2_400,
    "contracts": [_CONTRACT],
    "accounts": {"issuance": -90_000, "destroyed": 1_200, "fees": 0, "cores": 3},
}

_SPEECH: Final[Json] = {
    "turn": 7,
    "messages": [{"agent_id": "agent_0", "message": "I lend at 5 percent", "seq": 0}],
}

_CONFIG: Final[Json] = {**asdict(Config()), "protocol_version": 1}

_HEALTH: Final[Json] = {"status": "ok", "turn": 7, "version": "0.1.0"}

_ENTRY_PAGE: Final[Json] = {
    "entries": [
        {
            "turn": 7,
            "seq": 3,
            "source": "agent:agent_0",
            "target": "agent:agent_1",
            "amount": 50,
            "reason": "transfer",
            "reference": "action:1",
        }
    ],
    "next_after": "7.3",
}

_BLOCK_PAGE: Final[Json] = {"blocks": [_BLOCK], "next_after": None}

_CONTRACT_PAGE: Final[Json] = {"contracts": [_CONTRACT], "next_after": 1}

_TURN_METRICS_PAGE: Final[Json] = {
    "turns": [
        {
            "turn": 7,
            "issued": 90_000,
            "destroyed": 1_200,
            "circulating": 88_800,
            "issued_in_turn": 2_000,
            "destroyed_in_turn": 200,
            "issued_by_reason": {"mine_reward": 1_600, "wage": 400},
            "destroyed_by_reason": {"tuition": 200},
            "gini_bps": 312,
            "top_core_bps": 2_500,
            "debt": 0,
            "debtors": 0,
            "suspended": 0,
            "fees": 2,
            "moved": 252,
            "velocity_bps": 28,
            "inference_fees": 0,
            "output_tokens": 312,
            "actions_applied": 1,
            "actions_rejected": 1,
            "mine_blocks": 1,
            "stake_blocks": 0,
            "burn_blocks": 0,
            "orphaned_blocks": 0,
            "contracts_by_status": {"active": 1},
        }
    ],
    "next_after": None,
}

ANSWERS: Final[dict[str, Json]] = {
    "InitAnswer": _INIT_ANSWER,
    "TurnAnswer": _TURN_ANSWER,
    "QueueAnswer": _QUEUE_ANSWER,
    "StateAnswer": _STATE,
    "OneAgentAnswer": _ONE_AGENT,
    "ContractAnswer": _CONTRACT,
    "SpeechAnswer": _SPEECH,
    "ConfigAnswer": _CONFIG,
    "HealthAnswer": _HEALTH,
    "BlockAnswer": _BLOCK,
    "BlockPage": _BLOCK_PAGE,
    "ContractPage": _CONTRACT_PAGE,
    "EntryPage": _ENTRY_PAGE,
    "TurnMetricsPage": _TURN_METRICS_PAGE,
}
"""An example of every answer, by the name of its type."""
