-- What quotas have counted: one row for each subject and window. Tokens and cost of requests that still run are in it as
-- they were set aside; their ends correct it.
--
-- No index but on the key and the end of a window, neither of which changes, so that counting rewrites none.
CREATE TABLE IF NOT EXISTS ai_quota_buckets (
    id                BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject_kind      TEXT NOT NULL,          -- user, key, model, installation, or the name of an attribute
    subject_id        TEXT NOT NULL,
    subject_name      TEXT NOT NULL,          -- for people, as it was when the window began
    meter             TEXT NOT NULL,          -- `3600s`, `month`, `day Europe/Berlin`; then what requests must match
    window_start      TIMESTAMPTZ NOT NULL,
    window_end        TIMESTAMPTZ NOT NULL,
    requests          BIGINT NOT NULL DEFAULT 0,
    input_tokens      BIGINT NOT NULL DEFAULT 0,
    output_tokens     BIGINT NOT NULL DEFAULT 0,
    cost_microdollars BIGINT NOT NULL DEFAULT 0,
    UNIQUE (subject_kind, subject_id, meter, window_start)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX IF NOT EXISTS ai_quota_buckets_by_end ON ai_quota_buckets (window_end);

-- What is set aside for requests that run, in each of these buckets. The row goes with the end of the request; what a server
-- leaves behind that dies is settled by what the ledger says of the request.
CREATE TABLE IF NOT EXISTS ai_quota_holds (
    action_id         UUID PRIMARY KEY,
    held_at           TIMESTAMPTZ NOT NULL,
    buckets           BIGINT[] NOT NULL,
    requests          BIGINT NOT NULL,
    input_tokens      BIGINT NOT NULL,
    output_tokens     BIGINT NOT NULL,
    cost_microdollars BIGINT NOT NULL
);

-- Parts of limits that were reached: each once in a window, whichever server saw it.
CREATE TABLE IF NOT EXISTS ai_quota_alerts (
    alert           TEXT NOT NULL,
    bucket_id       BIGINT NOT NULL,
    counted         TEXT NOT NULL,            -- requests, input_tokens, output_tokens, cost_microdollars
    threshold       INTEGER NOT NULL,         -- in percent
    message_id      UUID NOT NULL,
    message         JSONB NOT NULL,
    raised_at       TIMESTAMPTZ NOT NULL,
    -- Of the previous version, which may still run and had one place for each alert. Nothing else uses them, and the next
    -- version drops them.
    attempts        INTEGER NOT NULL DEFAULT 0,
    next_attempt_at TIMESTAMPTZ,
    delivered_at    TIMESTAMPTZ,
    last_error      TEXT,
    PRIMARY KEY (alert, bucket_id, counted, threshold)
);

CREATE UNIQUE INDEX IF NOT EXISTS ai_quota_alerts_by_message ON ai_quota_alerts (message_id);

-- Where the message of each is to go, one row for each place, which waits until the message was taken there.
CREATE TABLE IF NOT EXISTS ai_quota_alert_deliveries (
    message_id      UUID NOT NULL,
    channel         TEXT NOT NULL,            -- webhook, mail
    recipient       TEXT NOT NULL,            -- of a webhook the name of its alert, as its address may hold a secret
    attempts        INTEGER NOT NULL DEFAULT 0,
    strikes         INTEGER NOT NULL DEFAULT 0, -- attempts that were refused for good or may have been taken; few are made
    next_attempt_at TIMESTAMPTZ,              -- absent when it was taken, or given up
    delivered_at    TIMESTAMPTZ,
    last_error      TEXT,
    PRIMARY KEY (message_id, channel, recipient)
);

CREATE INDEX IF NOT EXISTS ai_quota_alert_deliveries_due
    ON ai_quota_alert_deliveries (next_attempt_at) WHERE next_attempt_at IS NOT NULL;

-- The policies of services/gateway as they were loaded at the last start.
CREATE TABLE IF NOT EXISTS ai_gateway_policies (
    name      TEXT PRIMARY KEY,
    position  INTEGER NOT NULL,
    enabled   BOOLEAN NOT NULL,
    spec      JSONB NOT NULL,
    loaded_at TIMESTAMPTZ NOT NULL
);

-- Ends some requests and begins others, all in one statement: first what ended is corrected (`ended_*`, as it was used), then
-- each of `wanted_*`, in order, is counted in all of its buckets or in none. Buckets are given once each, in the order of
-- their key (`bucket_*`); `claim_*` says which request wants which of them, and the limits there, request by request. A
-- limit that is absent does not bind. `claim_strict`: tokens and cost must fit below the limit, instead of finding it not
-- reached yet.
--
-- Gives whether each request was counted, what each claim found in its bucket before its own request, the ids of the
-- buckets, and every bucket that a request ended in as it is now.
--
-- Rows are locked in the order of their ids, so statements of several servers wait for each other in no circle.
CREATE OR REPLACE FUNCTION ai_quota_turn(
    at                TIMESTAMPTZ,
    ended_action      UUID[],
    ended_requests    BIGINT[],
    ended_input       BIGINT[],
    ended_output      BIGINT[],
    ended_cost        BIGINT[],
    bucket_kind       TEXT[],
    bucket_subject    TEXT[],
    bucket_name       TEXT[],
    bucket_meter      TEXT[],
    bucket_start      TIMESTAMPTZ[],
    bucket_end        TIMESTAMPTZ[],
    wanted_action     UUID[],
    wanted_input      BIGINT[],
    wanted_output     BIGINT[],
    wanted_cost       BIGINT[],
    claim_request     INTEGER[],
    claim_bucket      INTEGER[],
    claim_strict      BOOLEAN[],
    claim_requests    BIGINT[],
    claim_input       BIGINT[],
    claim_output      BIGINT[],
    claim_cost        BIGINT[]
) RETURNS TABLE (
    granted           BOOLEAN[],
    found_requests    BIGINT[],
    found_input       BIGINT[],
    found_output      BIGINT[],
    found_cost        BIGINT[],
    bucket_id         BIGINT[],
    changed_id        BIGINT[],
    changed_requests  BIGINT[],
    changed_input     BIGINT[],
    changed_output    BIGINT[],
    changed_cost      BIGINT[]
) LANGUAGE plpgsql AS $$
DECLARE
    delta_id       BIGINT[];
    delta_requests BIGINT[];
    delta_input    BIGINT[];
    delta_output   BIGINT[];
    delta_cost     BIGINT[];
    now_requests   BIGINT[];
    now_input      BIGINT[];
    now_output     BIGINT[];
    now_cost       BIGINT[];
    claims         INTEGER := cardinality(claim_request);
    claim          INTEGER := 1;
    first_claim    INTEGER;
    slot           INTEGER;
    fits           BOOLEAN;
    held           BIGINT[];
BEGIN
    IF cardinality(ended_action) > 0 THEN
        WITH gone AS (
            DELETE FROM ai_quota_holds AS hold
            USING unnest(ended_action, ended_requests, ended_input, ended_output, ended_cost)
                AS used (action, requests, input, output, cost)
            WHERE hold.action_id = used.action
            RETURNING
                hold.buckets,
                used.requests - hold.requests AS requests,
                used.input - hold.input_tokens AS input,
                used.output - hold.output_tokens AS output,
                used.cost - hold.cost_microdollars AS cost
        ),
        parts AS (
            SELECT id, sum(requests)::bigint AS requests, sum(input)::bigint AS input, sum(output)::bigint AS output,
                sum(cost)::bigint AS cost
            FROM gone CROSS JOIN unnest(gone.buckets) AS id
            GROUP BY id
        )
        SELECT array_agg(id), array_agg(requests), array_agg(input), array_agg(output), array_agg(cost)
        INTO delta_id, delta_requests, delta_input, delta_output, delta_cost
        FROM parts;
    END IF;

    INSERT INTO ai_quota_buckets (subject_kind, subject_id, subject_name, meter, window_start, window_end)
    SELECT wanted.kind, wanted.subject, wanted.name, wanted.meter, wanted.begins, wanted.ends
    FROM unnest(bucket_kind, bucket_subject, bucket_name, bucket_meter, bucket_start, bucket_end)
        WITH ORDINALITY AS wanted (kind, subject, name, meter, begins, ends, place)
    WHERE NOT EXISTS (
        SELECT FROM ai_quota_buckets AS bucket
        WHERE bucket.subject_kind = wanted.kind AND bucket.subject_id = wanted.subject
            AND bucket.meter = wanted.meter AND bucket.window_start = wanted.begins
    )
    ORDER BY wanted.place
    ON CONFLICT DO NOTHING;

    SELECT array_agg(bucket.id ORDER BY wanted.place)
    INTO bucket_id
    FROM unnest(bucket_kind, bucket_subject, bucket_meter, bucket_start)
        WITH ORDINALITY AS wanted (kind, subject, meter, begins, place)
    JOIN ai_quota_buckets AS bucket
        ON bucket.subject_kind = wanted.kind AND bucket.subject_id = wanted.subject
        AND bucket.meter = wanted.meter AND bucket.window_start = wanted.begins;

    PERFORM FROM ai_quota_buckets AS bucket
    WHERE bucket.id = ANY (COALESCE(delta_id, '{}') || COALESCE(bucket_id, '{}'))
    ORDER BY bucket.id
    FOR UPDATE;

    IF delta_id IS NOT NULL THEN
        WITH corrected AS (
            UPDATE ai_quota_buckets AS bucket
            SET requests = GREATEST(bucket.requests + delta.requests, 0),
                input_tokens = GREATEST(bucket.input_tokens + delta.input, 0),
                output_tokens = GREATEST(bucket.output_tokens + delta.output, 0),
                cost_microdollars = GREATEST(bucket.cost_microdollars + delta.cost, 0)
            FROM unnest(delta_id, delta_requests, delta_input, delta_output, delta_cost)
                AS delta (id, requests, input, output, cost)
            WHERE bucket.id = delta.id
            RETURNING bucket.*
        )
        SELECT array_agg(id), array_agg(requests), array_agg(input_tokens), array_agg(output_tokens),
            array_agg(cost_microdollars)
        INTO changed_id, changed_requests, changed_input, changed_output, changed_cost
        FROM corrected;
    END IF;

    IF claims > 0 THEN
        SELECT array_agg(bucket.requests ORDER BY wanted.place), array_agg(bucket.input_tokens ORDER BY wanted.place),
            array_agg(bucket.output_tokens ORDER BY wanted.place), array_agg(bucket.cost_microdollars ORDER BY wanted.place)
        INTO now_requests, now_input, now_output, now_cost
        FROM unnest(bucket_id) WITH ORDINALITY AS wanted (id, place)
        JOIN ai_quota_buckets AS bucket USING (id);

        FOR request IN 1 .. cardinality(wanted_action) LOOP
            fits := TRUE;
            first_claim := claim;
            held := '{}';
            WHILE claim <= claims AND claim_request[claim] = request LOOP
                slot := claim_bucket[claim];
                held := held || bucket_id[slot];
                found_requests[claim] := now_requests[slot];
                found_input[claim] := now_input[slot];
                found_output[claim] := now_output[slot];
                found_cost[claim] := now_cost[slot];
                fits := fits AND COALESCE(now_requests[slot] < claim_requests[claim], TRUE);
                IF claim_strict[claim] THEN
                    fits := fits
                        AND COALESCE(now_input[slot] + wanted_input[request] <= claim_input[claim], TRUE)
                        AND COALESCE(now_output[slot] + wanted_output[request] <= claim_output[claim], TRUE)
                        AND COALESCE(now_cost[slot] + wanted_cost[request] <= claim_cost[claim], TRUE);
                ELSE
                    fits := fits
                        AND COALESCE(now_input[slot] < claim_input[claim], TRUE)
                        AND COALESCE(now_output[slot] < claim_output[claim], TRUE)
                        AND COALESCE(now_cost[slot] < claim_cost[claim], TRUE);
                END IF;
                claim := claim + 1;
            END LOOP;
            granted[request] := fits;
            IF fits THEN
                FOR taken IN first_claim .. claim - 1 LOOP
                    slot := claim_bucket[taken];
                    now_requests[slot] := now_requests[slot] + 1;
                    now_input[slot] := now_input[slot] + wanted_input[request];
                    now_output[slot] := now_output[slot] + wanted_output[request];
                    now_cost[slot] := now_cost[slot] + wanted_cost[request];
                END LOOP;
                INSERT INTO ai_quota_holds (
                    action_id, held_at, buckets, requests, input_tokens, output_tokens, cost_microdollars
                )
                VALUES (
                    wanted_action[request], at, held, 1, wanted_input[request], wanted_output[request],
                    wanted_cost[request]
                );
            END IF;
        END LOOP;

        UPDATE ai_quota_buckets AS bucket
        SET requests = counted.requests,
            input_tokens = counted.input,
            output_tokens = counted.output,
            cost_microdollars = counted.cost
        FROM unnest(bucket_id, now_requests, now_input, now_output, now_cost)
            AS counted (id, requests, input, output, cost)
        WHERE bucket.id = counted.id AND bucket.requests < counted.requests;
    END IF;

    RETURN NEXT;
END
$$;
