-- Runs only where governance was installed before the ledger became a log with projections. No version was released with
-- the earlier form, so there is nothing to migrate.
DO $$
BEGIN
    RAISE EXCEPTION 'this database holds a ledger of an unreleased version, which this version cannot read'
        USING HINT = 'start with another database, or remove the home of this installation to begin anew';
END
$$;
