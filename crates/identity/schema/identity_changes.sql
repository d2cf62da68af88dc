-- Every change that may end somebody's access is announced on the channel `identity_changes` in the same transaction,
-- with the user's id as the payload (`*` means everybody), so that each replica forgets what it remembers of that user.
-- Triggers do it, not the application: a change made with psql must count as well.
CREATE OR REPLACE FUNCTION identity_announce_user() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('identity_changes', OLD.id::text);
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION identity_announce_owner() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('identity_changes', CASE TG_OP WHEN 'INSERT' THEN NEW.user_id ELSE OLD.user_id END::text);
    IF TG_OP = 'UPDATE' AND NEW.user_id <> OLD.user_id THEN
        PERFORM pg_notify('identity_changes', NEW.user_id::text);
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE FUNCTION identity_announce_everybody() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('identity_changes', '*');
    RETURN NULL;
END
$$;

-- The columns that requests touch (last use, last activity, counters) are left out on purpose.
CREATE OR REPLACE TRIGGER users_announce_change
    AFTER UPDATE OF id, name, status, roles, attributes OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION identity_announce_user();

CREATE OR REPLACE TRIGGER user_api_keys_announce_change
    AFTER UPDATE OF id, user_id, key_prefix, key_sha256, expires_at, revoked_at OR DELETE ON user_api_keys
    FOR EACH ROW EXECUTE FUNCTION identity_announce_owner();

CREATE OR REPLACE TRIGGER user_sessions_announce_change
    AFTER UPDATE OF session_id, user_id, ended_at, expires_at, revoked_at OR DELETE ON user_sessions
    FOR EACH ROW EXECUTE FUNCTION identity_announce_owner();

CREATE OR REPLACE TRIGGER oauth_jti_revocations_announce_change
    AFTER INSERT ON oauth_jti_revocations
    FOR EACH ROW EXECUTE FUNCTION identity_announce_owner();

CREATE OR REPLACE TRIGGER users_announce_truncation
    AFTER TRUNCATE ON users
    FOR EACH STATEMENT EXECUTE FUNCTION identity_announce_everybody();

CREATE OR REPLACE TRIGGER user_api_keys_announce_truncation
    AFTER TRUNCATE ON user_api_keys
    FOR EACH STATEMENT EXECUTE FUNCTION identity_announce_everybody();

CREATE OR REPLACE TRIGGER user_sessions_announce_truncation
    AFTER TRUNCATE ON user_sessions
    FOR EACH STATEMENT EXECUTE FUNCTION identity_announce_everybody();
