-- The order of an instance's snapshots, which does not depend on the clock; NULL for those that an
-- older version took, which are older than all others. A snapshot without a copy (local = 0 and
-- remote = 0) is missing: it was stored, and was not deleted by us.
ALTER TABLE snapshots ADD COLUMN sequence BIGINT;

-- Single values: the destination of backups, what was last known of the clock, and the revision that
-- was backed up last.
CREATE TABLE properties (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

-- Grows with every change that a recovery needs: when it differs from the revision that was backed up
-- last, the control plane's backup is outdated.
CREATE TABLE revision (
    value BIGINT NOT NULL
);
INSERT INTO revision VALUES (1);

CREATE TRIGGER instances_added AFTER INSERT ON instances BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER instances_changed AFTER UPDATE OF name, owner, desired, wrapped_key, account_id ON instances
    BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER instances_removed AFTER DELETE ON instances BEGIN UPDATE revision SET value = value + 1; END;

CREATE TRIGGER secrets_added AFTER INSERT ON secrets BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER secrets_changed AFTER UPDATE ON secrets BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER secrets_removed AFTER DELETE ON secrets BEGIN UPDATE revision SET value = value + 1; END;

CREATE TRIGGER archives_added AFTER INSERT ON archives BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER archives_changed AFTER UPDATE ON archives BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER archives_removed AFTER DELETE ON archives BEGIN UPDATE revision SET value = value + 1; END;

CREATE TRIGGER snapshots_added AFTER INSERT ON snapshots BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER snapshots_removed AFTER DELETE ON snapshots BEGIN UPDATE revision SET value = value + 1; END;

CREATE TRIGGER accounts_added AFTER INSERT ON accounts BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER accounts_changed AFTER UPDATE OF email, password, admin, state, confirmed_at, quota ON accounts
    BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER accounts_removed AFTER DELETE ON accounts BEGIN UPDATE revision SET value = value + 1; END;

CREATE TRIGGER passkeys_added AFTER INSERT ON passkeys BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER passkeys_removed AFTER DELETE ON passkeys BEGIN UPDATE revision SET value = value + 1; END;

CREATE TRIGGER tokens_added AFTER INSERT ON tokens BEGIN UPDATE revision SET value = value + 1; END;
CREATE TRIGGER tokens_removed AFTER DELETE ON tokens BEGIN UPDATE revision SET value = value + 1; END;
