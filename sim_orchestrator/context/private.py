"""The part of a prompt that only its agent sees: persona, means, odds, contracts, news, notes."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sim_orchestrator.context import odds
from sim_orchestrator.context.agreements import DESCRIPTION_CHARS_MAX, debt_of, summary
from sim_orchestrator.context.possible import Possible, Signature, partners, possible
from sim_orchestrator.context.public import agent_line
from sim_orchestrator.context.survey import BPS
from sim_orchestrator.context.tokens import MUST, Line
from sim_orchestrator.context.words import claim, harmless, quoted
from sim_orchestrator.minds.base import Observation

NOTES_CHARS_MAX: Final = 600
CONTENT_CHARS_MAX: Final = 1_000
REASON_CHARS_MAX: Final = 200
MISTAKES_CHARS_MAX: Final = 300
_LISTED_MAX: Final = 10
"""The most lots of stake, cores or wage funds that one line lists."""


RANK_WAITING: Final = 95
RANK_REJECTION: Final = 90
RANK_DEBTS: Final = 85
RANK_NOTES: Final = 80
RANK_RECEIVED: Final = 75
RANK_ODDS: Final = 70
RANK_INSIGHTS: Final = 60
RANK_CONTRACTS: Final = 50
RANK_INFORMATION: Final = 40
RANK_NEIGHBOURS: Final = 30
RANK_APPLIED: Final = 20


def private_lines(observation: Observation) -> list[Line]:
    """Describe what the agent alone is told, in lines most of which may go."""
    can = possible(observation)
    return [
        *_self(observation, can),
        *_odds(observation, can),
        *_mistakes(observation),
        *_receipts(observation),
        *_received(observation),
        *_insights(observation),
        *_information(observation),
        *_neighbours(observation, can),
        *_debts(observation),
        *_running(observation),
        *_waiting(observation, can),
        *_notes(observation),
        *_closing(observation, can),
    ]


def _self(observation: Observation, can: Possible) -> Iterator[Line]:
    me = observation.agent
    yield Line(f"YOU ARE {observation.agent_id}, TURN {observation.turn}", MUST)
    if observation.persona:
        yield Line(observation.persona, MUST)
    yield Line(_means(me), MUST)
    if me["balance"] < 0:
        yield Line(
            f"You are in debt by {-me['balance']}: you can pay for nothing until you earn. Do job.",
            MUST,
        )
    yield Line(_thinking(observation, can), MUST)


def _means(me: Mapping[str, Any]) -> str:
    parts = [
        f"balance {me['balance']}",
        f"staked {me['staked']}",
        f"burn score {me['burn_score']}",
        f"study level {me['study_level']} (step {me['study_progress']} of {me['study_level'] + 1})",
    ]
    parts += [
        f"{lot['amount']} unstaked until turn {lot['release_turn']}"
        for lot in me["unbonding"][:_LISTED_MAX]
    ]
    if me["cores"]:
        parts.append(f"cores {' '.join(map(str, me['cores'][:_LISTED_MAX]))}")
    return f"You have: {', '.join(parts)}."


def _thinking(observation: Observation, can: Possible) -> str:
    free = observation.config["commons_per_agent"]
    used = observation.output_tokens[-1] if observation.output_tokens else None
    last = "" if used is None else f" Your last answer took {used}."
    return (
        f"Thinking: {free} tokens free.{last} One more turn costs you at most about "
        f"{can.thinking_reserve}."
    )


def _odds(observation: Observation, can: Possible) -> Iterator[Line]:
    known = {i["about_turn"]: i["job_fund"] for i in observation.agent["private"]["insights"]}
    wage = odds.expected_wage(observation, known.get(observation.turn))
    yield Line(f"job now pays about {wage}.", RANK_ODDS, 3)
    if can.labours:
        yield Line(_mining_odds(observation, can), RANK_ODDS, 2)
    if can.studies:
        yield Line(_study_payback(observation, can), RANK_ODDS, 2)
    yield Line(_staking_odds(observation), RANK_ODDS, 1)
    yield Line(_burning_odds(observation), RANK_ODDS, 1)
    if observation.core_income:
        paid = " ".join(map(str, observation.core_income[-5:]))
        yield Line(f"A core paid in the last turns: {paid}.", RANK_ODDS)


def _mining_odds(observation: Observation, can: Possible) -> str:
    one, most = odds.mining(observation, 1), odds.mining(observation, can.labours)
    text = f"mine once: {one.percent}% to win, about {one.reward}"
    if can.labours > 1:
        text += f"; {can.labours} times: {most.percent}%, about {most.reward}"
    return text + "."


def _study_payback(observation: Observation, can: Possible) -> str:
    config, me = observation.config, observation.agent
    level = me["study_level"]
    cost = config["tuition"] * (level + 1) * (level + 1 - me["study_progress"])
    bonus = config["job_wage"] * config["wage_bonus_bps"] // BPS
    payback = f", paid back by {-(-cost // bonus)} jobs" if bonus else ""
    return (
        f"study: {can.studies[0]} now; level {level + 1} for {cost} in all adds {bonus} to each "
        f"wage{payback}."
    )


def _staking_odds(observation: Observation) -> str:
    now, more = odds.staking(observation, 0), odds.staking(observation, _STEP)
    return (
        f"stake: yours brings about {now.reward} a turn ({now.percent}%); "
        f"{_STEP} more, fully aged: {more.reward}."
    )


def _burning_odds(observation: Observation) -> str:
    now, more = odds.burning(observation, 0), odds.burning(observation, _STEP)
    return (
        f"burn: your score brings about {now.reward} a turn ({now.percent}%); "
        f"after burning {_STEP}: {more.reward}."
    )


_STEP: Final = 1_000


def _mistakes(observation: Observation) -> Iterator[Line]:
    """Tell what of the agent's last answer never reached the engine; it may quote that answer."""
    if observation.failure:
        said = quoted(observation.failure, MISTAKES_CHARS_MAX)
        yield Line(
            f"Last turn you did nothing, as your answer could not be used: {said}", RANK_REJECTION
        )
    elif observation.failure is not None:
        yield Line("Last turn you did nothing: no answer of yours came in time.", RANK_REJECTION)
    elif observation.dropped:
        said = quoted("; ".join(observation.dropped), MISTAKES_CHARS_MAX)
        yield Line(f"Last turn a part of your answer could not be used: {said}", RANK_REJECTION)


def _receipts(observation: Observation) -> Iterator[Line]:
    applied: list[str] = []
    rejected: Counter[str] = Counter()
    for receipt in observation.agent["private"]["receipts"]:
        if receipt["status"] == "applied":
            applied.append(receipt["type"])
            continue
        reason = harmless(receipt["message"], REASON_CHARS_MAX)
        rejected[f"{receipt['type']} was rejected ({receipt['code']}): {reason}"] += 1
    for what, times in rejected.items():
        whose = "your" if times == 1 else f"{times} ×"
        yield Line(f"Last turn {whose} {what}", RANK_REJECTION)
    if applied:
        yield Line(f"Last turn you did: {', '.join(applied)}.", RANK_APPLIED)


def _received(observation: Observation) -> Iterator[Line]:
    for transfer in observation.received:
        text = f"Last turn {transfer['from']} sent you {transfer['amount']}"
        if transfer["memo"]:
            text += f"; {claim(transfer['from'], transfer['memo'], DESCRIPTION_CHARS_MAX)}"
        yield Line(f"{text}.", RANK_RECEIVED)


def _insights(observation: Observation) -> Iterator[Line]:
    funds = sorted(
        {i["about_turn"]: i["job_fund"] for i in observation.agent["private"]["insights"]}.items()
    )
    known = [f"turn {turn}: {fund}" for turn, fund in funds if turn >= observation.turn]
    if known:
        listed = ", ".join(known[:_LISTED_MAX])
        yield Line(f"You know the wage fund of {listed}.", RANK_INSIGHTS)


def _information(observation: Observation) -> Iterator[Line]:
    for age, item in enumerate(observation.agent["private"]["information"]):
        title = quoted(item["title"], DESCRIPTION_CHARS_MAX)
        content = quoted(item["content"], CONTENT_CHARS_MAX)
        yield Line(
            f"Information bought with {item['contract_id']}: its seller claims: {title}: {content}",
            RANK_INFORMATION,
            age,
        )


def _neighbours(observation: Observation, can: Possible) -> Iterator[Line]:
    """Show the agents that this one deals with, where the public part does not show everybody."""
    world = can.world
    shown = set(world.shown_to_all)
    hidden = [other for other in partners(observation) if other not in shown]
    if hidden:
        yield Line("Your partners: balance, staked, burn score, study level", RANK_NEIGHBOURS)
    for other in hidden:
        if other in world.agents:
            yield Line(agent_line(world.agents[other]), RANK_NEIGHBOURS)


def _debts(observation: Observation) -> Iterator[Line]:
    for contract in observation.contracts:
        owed = debt_of(contract, observation.agent_id)
        if owed:
            yield Line(
                f"You owe {owed} on {contract['contract_id']}, due in turn {contract['due_turn']}.",
                RANK_DEBTS,
                -contract["due_turn"],
            )


def _running(observation: Observation) -> Iterator[Line]:
    for contract in observation.contracts:
        signed = observation.agent_id in contract["signatures"]
        if contract["status"] == "active" or (contract["status"] == "proposed" and signed):
            yield Line(
                f"Your contract, {contract['status']}: {summary(contract)}.",
                RANK_CONTRACTS,
                contract["proposed_turn"],
            )


def _waiting(observation: Observation, can: Possible) -> Iterator[Line]:
    contracts = {contract["contract_id"]: contract for contract in observation.contracts}
    for signature in can.signatures:
        yield _to_sign(contracts[signature.contract_id], signature, can)
    for contract_id in can.to_confirm:
        yield _to_decide(contracts[contract_id], observation)
    for contract_id in can.to_rule:
        yield _to_rule(contracts[contract_id], observation)


def _to_sign(contract: Mapping[str, Any], signature: Signature, can: Possible) -> Line:
    if signature.hindrance:
        how = f"you cannot sign it: {signature.hindrance}"
    elif signature.cost > can.spendable:
        how = f"signing costs {signature.cost}, more than you can spend"
    else:
        how = f"costs you {signature.cost} now"
        if signature.role == "arbitrator":
            how = f"locks {signature.cost} and pays you {contract['arbitrator_fee']}"
        how += "; to sign send " + _send(
            type="sign_contract", contract_id=signature.contract_id, role=signature.role
        )
    text = (
        f"Offered to you as {signature.role} until turn {signature.last_turn}: {summary(contract)}"
    )
    return Line(f"{text}; {how}", RANK_WAITING, contract["proposed_turn"])


def _to_decide(contract: Mapping[str, Any], observation: Observation) -> Line:
    contract_id = contract["contract_id"]
    until = contract["due_turn"] + observation.config["attest_window"]
    confirm = _send(type="confirm_delivery", contract_id=contract_id)
    dispute = _send(type="dispute_delivery", contract_id=contract_id, reason="why")
    text = f"Until turn {until} you may say whether {contract_id} was kept: {confirm} or {dispute}"
    return Line(text, RANK_WAITING, contract["proposed_turn"])


def _to_rule(contract: Mapping[str, Any], observation: Observation) -> Line:
    dispute = contract["dispute"]
    until = dispute["turn"] + observation.config["ruling_window"]
    rule = _send(type="arbitrator_ruling", contract_id=contract["contract_id"], ruling="split")
    reason = claim(dispute["by"], dispute["reason"], DESCRIPTION_CHARS_MAX)
    if "content" in contract["terms"]:
        seller = contract[contract["terms"]["seller"]]
        reason += f"; sold as {claim(seller, contract['terms']['content'], CONTENT_CHARS_MAX)}"
    text = f"You must rule until turn {until} (proposer {contract['proposer']}, counterparty "
    text += f"{contract['counterparty']}, or split) on {summary(contract)}; {reason}; send {rule}"
    return Line(text, RANK_WAITING, contract["proposed_turn"])


def _send(**action: str) -> str:
    return json.dumps(action, separators=(",", ":"))


def _notes(observation: Observation) -> Iterator[Line]:
    if observation.notes:
        notes = quoted(observation.notes, NOTES_CHARS_MAX)
        yield Line(f"Your own notes: {notes}", RANK_NOTES)


def _closing(observation: Observation, can: Possible) -> Iterator[Line]:
    """List what can be done now, with its limits: the last thing that is read before answering."""
    labour = ["job", "mine"] if can.labours else []
    if can.studies and can.studies[0] <= can.spendable:
        labour.append("study")
    free = ["speak"] + ["sign_contract"] * bool(can.signable)
    text = f"You can do now: {', '.join(labour + free)}"
    if can.spendable:
        text += f"; with up to {can.spendable} in all: stake, burn, transfer"
        if can.world.unsold_cores and can.spendable >= observation.config["core_reserve"]:
            text += f", bid_core from {observation.config['core_reserve']}"
    if observation.agent["staked"]:
        text += f"; unstake up to {observation.agent['staked']}"
    if can.arbitrators:
        text += f"; propose_contract, sell_information (arbitrator {' or '.join(can.arbitrators)})"
    yield Line(f"{text}. Points: {can.points}.", MUST)
    yield Line("Answer now with one JSON object.", MUST)
