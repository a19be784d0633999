-- Views for people: what is asked most often after a run.

CREATE VIEW v_wealth AS
SELECT
    a.agent_id,
    a.balance,
    a.staked,
    COALESCE((SELECT SUM(json_extract(lot.value, '$[0]')) FROM json_each(a.unbonding) AS lot), 0) AS unbonding,
    a.balance + a.staked
        + COALESCE((SELECT SUM(json_extract(lot.value, '$[0]')) FROM json_each(a.unbonding) AS lot), 0) AS wealth,
    (SELECT COUNT(*) FROM cores AS c WHERE c.owner = a.agent_id) AS cores,
    a.study_level,
    a.blocks_won,
    a.suspended
FROM agents AS a
ORDER BY wealth DESC, a.position;

CREATE VIEW v_supply AS
SELECT turn, issued, destroyed, circulating, issued_in_turn, destroyed_in_turn, fees, debt
FROM turn_metrics
ORDER BY turn;

CREATE VIEW v_contract_outcomes AS
SELECT contract_type, settlement, status, COUNT(*) AS contracts
FROM contracts
GROUP BY contract_type, settlement, status
ORDER BY contract_type, settlement, status;

CREATE VIEW v_payments AS
SELECT
    e.turn,
    substr(e.source, 7) AS payer,
    substr(e.target, 7) AS payee,
    e.amount,
    e.reason,
    e.reference,
    CASE WHEN e.reason = 'transfer' THEN (
        SELECT json_extract(x.payload, '$.memo') FROM actions AS x
        WHERE x.turn = e.turn AND x.seq = CAST(substr(e.reference, 8) AS INTEGER)
    ) END AS memo
FROM entries AS e
WHERE e.source LIKE 'agent:%' AND e.target LIKE 'agent:%'
ORDER BY e.turn, e.seq
