-- Views for people: what is asked most often after a run. docs/ledger.md describes them.
--
-- A file that was made before one of them was written gets it by this very script, which leaves alone
-- what is there: sqlite3 sim.db < views.sql

CREATE VIEW IF NOT EXISTS v_wealth AS
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

CREATE VIEW IF NOT EXISTS v_supply AS
SELECT turn, issued, destroyed, circulating, issued_in_turn, destroyed_in_turn, fees, debt
FROM turn_metrics
ORDER BY turn;

CREATE VIEW IF NOT EXISTS v_contract_outcomes AS
SELECT contract_type, settlement, status, COUNT(*) AS contracts
FROM contracts
GROUP BY contract_type, settlement, status
ORDER BY contract_type, settlement, status;

-- What one agent pays to another directly. What waits in a contract's escrow on its way is not here:
-- see v_contract_payments.
CREATE VIEW IF NOT EXISTS v_payments AS
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
ORDER BY e.turn, e.seq;

-- What agents pay into the escrow of a contract and what comes out of it. The side that is no agent
-- is NULL: the escrow, or where a slash is destroyed.
CREATE VIEW IF NOT EXISTS v_contract_payments AS
SELECT
    e.turn,
    c.contract_id,
    c.contract_type,
    e.reason,
    CASE WHEN e.source LIKE 'agent:%' THEN substr(e.source, 7) END AS payer,
    CASE WHEN e.target LIKE 'agent:%' THEN substr(e.target, 7) END AS payee,
    e.amount
FROM entries AS e
CROSS JOIN contracts AS c ON c.contract_id = e.reference
WHERE e.source LIKE 'contract:%' OR e.target LIKE 'contract:%'
ORDER BY e.turn, e.seq;

-- Who broke each contract that ended as defaulted: its borrower, provider or seller, or the other
-- side of a forward. A core forward can be broken by both.
CREATE VIEW IF NOT EXISTS v_defaults AS
WITH core_owners (core_id, turn, number, owner) AS (
    SELECT CAST(substr(reference, 6) AS INTEGER), turn, 0, substr(source, 5)
    FROM entries
    WHERE reason = 'core_sale'
    UNION ALL
    SELECT
        json_extract(terms, '$.asset.core_id'),
        ended_turn,
        number,
        CASE json_extract(terms, '$.seller') WHEN 'proposer' THEN counterparty ELSE proposer END
    FROM contracts
    WHERE status = 'settled' AND json_extract(terms, '$.asset.kind') = 'core'
),
roles AS (
    SELECT
        *,
        'proposer' = COALESCE(
            json_extract(terms, '$.seller'),
            json_extract(terms, '$.provider'),
            CASE json_extract(terms, '$.lender')
                WHEN 'proposer' THEN 'counterparty' ELSE 'proposer'
            END
        ) AS proposer_owes,
        json_extract(terms, '$.price') AS price,
        json_extract(terms, '$.asset.kind') AS kind
    FROM contracts
    WHERE status = 'defaulted'
),
sides AS (
    SELECT
        *,
        CASE WHEN proposer_owes THEN proposer ELSE counterparty END AS debtor,
        CASE WHEN proposer_owes THEN counterparty ELSE proposer END AS buyer,
        (
            SELECT MIN(seq)
            FROM entries
            WHERE turn = roles.ended_turn AND reference = roles.contract_id
        ) AS end_seq
    FROM roles
),
failures AS (
    SELECT
        *,
        CASE kind
            WHEN 'compute' THEN MIN(json_extract(terms, '$.asset.cap'), tally) > price
            WHEN 'core' THEN debtor IS NOT (
                SELECT o.owner
                FROM core_owners AS o
                WHERE o.core_id = json_extract(s.terms, '$.asset.core_id')
                    AND (o.turn, o.number) < (s.ended_turn, s.number)
                ORDER BY o.turn DESC, o.number DESC
                LIMIT 1
            )
            ELSE 1
        END AS debtor_failed,
        CASE WHEN kind = 'core' AND end_seq IS NOT NULL THEN (
            SELECT TOTAL(CASE e.target WHEN 'agent:' || s.buyer THEN e.amount ELSE -e.amount END)
            FROM entries AS e
            WHERE 'agent:' || s.buyer IN (e.source, e.target)
                AND (e.turn, e.seq) < (s.ended_turn, s.end_seq)
        ) < price END AS buyer_is_short
    FROM sides AS s
)
SELECT ended_turn AS turn, contract_id, contract_type, debtor AS agent_id
FROM failures
WHERE debtor_failed
UNION ALL
SELECT ended_turn, contract_id, contract_type, buyer
FROM failures
WHERE NOT debtor_failed OR buyer_is_short
ORDER BY 1, 2;

-- What makes an agent richer (above 0) or poorer (below 0). The five reasons that are left out move
-- tokens between accounts of one agent; of what was bid, the core's price alone is gone.
CREATE VIEW IF NOT EXISTS v_income AS
SELECT
    turn,
    substr(source, instr(source, ':') + 1) AS agent_id,
    reason,
    -amount AS amount,
    reference
FROM entries
WHERE (source LIKE 'agent:%' OR source LIKE 'bid:%')
    AND reason NOT IN ('stake', 'unstake', 'unbonded', 'bid', 'bid_return')
UNION ALL
SELECT turn, substr(target, 7) AS agent_id, reason, amount, reference
FROM entries
WHERE target LIKE 'agent:%'
    AND reason NOT IN ('stake', 'unstake', 'unbonded', 'bid', 'bid_return')
ORDER BY turn;

-- Liquid, staked and unbonding tokens of each agent at the end of each turn: all that it ever got,
-- less all that it ever gave away.
CREATE VIEW IF NOT EXISTS v_wealth_by_turn AS
SELECT
    turn,
    agent_id,
    SUM(SUM(amount)) OVER (PARTITION BY agent_id ORDER BY turn) AS wealth
FROM (
    SELECT turn, agent_id, amount FROM v_income
    UNION ALL
    SELECT t.turn, a.agent_id, 0 FROM turns AS t CROSS JOIN agents AS a
)
GROUP BY turn, agent_id
ORDER BY turn, agent_id
