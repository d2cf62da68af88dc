-- Addresses that are shut out, with every request. Changes are announced on the channel `banned_ips`, so that each replica
-- reads the list again; triggers do it, so that a ban made with psql counts as well.
CREATE TABLE IF NOT EXISTS banned_ips (
    ip_address             TEXT PRIMARY KEY, -- an address, or a network such as 192.0.2.0/24
    reason                 TEXT NOT NULL,
    banned_at              TIMESTAMPTZ NOT NULL,
    expires_at             TIMESTAMPTZ,      -- of a ban that is not permanent
    ban_count              INTEGER NOT NULL DEFAULT 1,
    last_offense_path      TEXT,
    last_user_agent        TEXT,
    is_permanent           BOOLEAN NOT NULL,
    source_fingerprint     TEXT,
    ban_source             TEXT NOT NULL,
    associated_session_ids TEXT[] NOT NULL DEFAULT '{}',
    CONSTRAINT banned_ips_source_is_known
        CHECK (ban_source IN ('manual', 'behavioral_analysis', 'velocity_abuse', 'fingerprint_abuse', 'cli')),
    CONSTRAINT banned_ips_end_or_not
        CHECK (is_permanent = (expires_at IS NULL))
);

CREATE OR REPLACE FUNCTION identity_announce_bans() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('banned_ips', '');
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER banned_ips_announce_change
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON banned_ips
    FOR EACH STATEMENT EXECUTE FUNCTION identity_announce_bans();
