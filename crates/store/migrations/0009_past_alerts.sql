-- Alerts that are resolved, for a list of recent ones. An alert that fires again before its end was
-- notified is the same one, and leaves this table.
CREATE TABLE past_alerts (
    key         TEXT NOT NULL,
    detail      TEXT NOT NULL,
    since       BIGINT NOT NULL,
    resolved_at BIGINT NOT NULL,
    PRIMARY KEY (key, since)
);

-- 1 when the deletion of a removed instance's backups was requested: they cannot be restored.
ALTER TABLE archives ADD COLUMN purge BIGINT NOT NULL DEFAULT 0;
