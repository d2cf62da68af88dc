-- Where the log is shipped to: whose turn it is, and what came of the last one. One server at a time has a destination.
CREATE TABLE IF NOT EXISTS ledger_shipments (
    destination     TEXT PRIMARY KEY,
    leased_by       UUID,
    leased_until    TIMESTAMPTZ,
    failures        INTEGER NOT NULL DEFAULT 0, -- in a row
    next_attempt_at TIMESTAMPTZ NOT NULL,
    last_error      TEXT,
    failing_since   TIMESTAMPTZ,
    shipped_at      TIMESTAMPTZ
);

-- How far each destination has each chain. Moved once it has taken what lies before.
CREATE TABLE IF NOT EXISTS ledger_shipment_cursors (
    destination TEXT NOT NULL,
    chain_id    UUID NOT NULL,
    seq         BIGINT NOT NULL,
    PRIMARY KEY (destination, chain_id)
);
