-- How long each instance was last frozen for a backup, in milliseconds, and whether that exceeded the
-- longest pause, so that the backup failed.
CREATE TABLE pauses (
    instance_id TEXT PRIMARY KEY REFERENCES instances (id) ON DELETE CASCADE,
    at          BIGINT NOT NULL,
    millis      BIGINT NOT NULL,
    exceeded    BIGINT NOT NULL
);
