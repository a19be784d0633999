"""``GET /metrics``: the state of the world and of the process in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# Column of `turn_metrics` -> name, type and help. Counters are sums since genesis or of this
# process; what is measured anew each turn is a gauge.
_WORLD: Final = (
    ("issued", "sim_tokens_issued_total", "counter", "Tokens ever issued."),
    ("destroyed", "sim_tokens_destroyed_total", "counter", "Tokens ever destroyed."),
    ("circulating", "sim_tokens_circulating", "gauge", "Tokens in circulation."),
    ("gini_bps", "sim_wealth_gini_bps", "gauge", "Gini coefficient of wealth, basis points."),
    (
        "top_core_bps",
        "sim_top_core_owner_bps",
        "gauge",
        "Cores of the largest owner, basis points.",
    ),
    ("debt", "sim_debt_tokens", "gauge", "Tokens owed by agents below zero."),
    ("debtors", "sim_debtors", "gauge", "Agents below zero."),
    ("suspended", "sim_suspended_agents", "gauge", "Agents suspended for debt."),
    ("fees", "sim_turn_fees_tokens", "gauge", "Transaction fees paid in the last turn."),
    (
        "moved",
        "sim_turn_moved_tokens",
        "gauge",
        "Tokens that left liquid balances in the last turn.",
    ),
    ("velocity_bps", "sim_turn_velocity_bps", "gauge", "Moved over circulating, basis points."),
    (
        "inference_fees",
        "sim_turn_inference_fees_tokens",
        "gauge",
        "Inference fees of the last turn.",
    ),
    ("output_tokens", "sim_turn_output_tokens", "gauge", "Tokens generated in the last turn."),
)

_BY_LABEL: Final = (
    ("issued_by_reason", "reason", "sim_turn_issued_tokens", "Tokens issued in the last turn."),
    (
        "destroyed_by_reason",
        "reason",
        "sim_turn_destroyed_tokens",
        "Tokens destroyed in the last turn.",
    ),
    ("contracts_by_status", "status", "sim_contracts", "Contracts ever proposed, by status now."),
)

_ACTIONS: Final = {"applied": "actions_applied", "rejected": "actions_rejected"}
_BLOCKS: Final = {
    "mine": "mine_blocks",
    "stake": "stake_blocks",
    "burn": "burn_blocks",
    "orphaned": "orphaned_blocks",
}


class RequestCounts:
    """Counts answered requests by method, route and status, and the seconds they took."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str, int], int] = {}
        self._seconds: dict[tuple[str, str, int], float] = {}

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request. ``route`` is a template, so that no name in a path becomes a label."""
        key = (method, route, status)
        self._counts[key] = self._counts.get(key, 0) + 1
        self._seconds[key] = self._seconds.get(key, 0.0) + seconds

    def lines(self) -> Iterable[str]:
        """Write both counters."""
        labelled: list[tuple[Labels, tuple[str, str, int]]] = [
            ({"method": method, "route": route, "status": status}, (method, route, status))
            for method, route, status in sorted(self._counts)
        ]
        yield from _family(
            "sim_http_requests_total",
            "counter",
            "Requests answered.",
            [(labels, self._counts[key]) for labels, key in labelled],
        )
        yield from _family(
            "sim_http_request_seconds_total",
            "counter",
            "Seconds spent on requests.",
            [(labels, self._seconds[key]) for labels, key in labelled],
        )


Labels = Mapping[str, str | int]
Sample = tuple[Labels, float]


def _family(name: str, kind: str, about: str, samples: Iterable[Sample]) -> Iterable[str]:
    yield f"# HELP {name} {about}"
    yield f"# TYPE {name} {kind}"
    for labels, value in samples:
        written = ",".join(f'{label}="{_escape(str(text))}"' for label, text in labels.items())
        number = f"{value:.6f}" if isinstance(value, float) else str(value)
        yield f"{name}{{{written}}} {number}" if written else f"{name} {number}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def exposition(
    *, turn: int | None, halted: bool, row: Mapping[str, Any], counts: RequestCounts
) -> bytes:
    """Write all metrics; ``row`` is the newest row of ``turn_metrics``, or empty."""
    lines = [
        *_family("sim_halted", "gauge", "1 when the engine takes no writes.", [({}, int(halted))])
    ]
    if turn is not None:
        lines += _family("sim_turn", "gauge", "The last sealed turn.", [({}, turn)])
    if row:
        lines += _world_lines(row)
    lines += counts.lines()
    return ("\n".join(lines) + "\n").encode()


def _world_lines(row: Mapping[str, Any]) -> Iterable[str]:
    for column, name, kind, about in _WORLD:
        yield from _family(name, kind, about, [({}, row[column])])
    for column, label, name, about in _BY_LABEL:
        by_label = [({label: key}, number) for key, number in sorted(row[column].items())]
        yield from _family(name, "gauge", about, by_label)
    actions = [({"status": status}, row[column]) for status, column in _ACTIONS.items()]
    yield from _family("sim_turn_actions", "gauge", "Actions of the last turn.", actions)
    blocks = [({"kind": kind}, row[column]) for kind, column in _BLOCKS.items()]
    yield from _family("sim_turn_blocks", "gauge", "Blocks of the last turn.", blocks)
