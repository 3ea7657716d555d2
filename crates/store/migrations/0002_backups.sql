-- The snapshot that a backup made or that a restore brings back, and of which instance it is.
ALTER TABLE operations ADD COLUMN snapshot TEXT;
ALTER TABLE operations ADD COLUMN source TEXT;
-- When the nightly backups were asked for.
CREATE INDEX operations_nightly ON operations (instance_id, created_at)
    WHERE kind = 'backup' AND actor = 'startclaw';

-- What lies in the repositories. They are the truth; this is what can be shown at once.
-- No reference to instances: snapshots outlive them.
CREATE TABLE snapshots (
    id          TEXT NOT NULL,
    instance_id TEXT NOT NULL,
    name        TEXT NOT NULL,
    taken_at    BIGINT NOT NULL,
    files       BIGINT NOT NULL,
    bytes       BIGINT NOT NULL,
    added_bytes BIGINT NOT NULL,
    local       BIGINT NOT NULL,
    remote      BIGINT NOT NULL,
    PRIMARY KEY (instance_id, id)
);
CREATE INDEX snapshots_waiting ON snapshots (instance_id) WHERE local = 1 AND remote = 0;

-- Instances that are gone and of which there are snapshots: what is needed to bring them back.
CREATE TABLE archives (
    instance_id TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    owner       TEXT NOT NULL,
    desired     TEXT NOT NULL,
    wrapped_key TEXT NOT NULL,
    secrets     TEXT NOT NULL,
    removed_at  BIGINT NOT NULL
);
CREATE INDEX archives_name ON archives (name, removed_at);

-- Troubles that somebody is to hear of: once when they come, once when they are over.
CREATE TABLE troubles (
    key     TEXT PRIMARY KEY,
    detail  TEXT NOT NULL,
    since   BIGINT NOT NULL,
    over_at BIGINT,
    told    BIGINT NOT NULL
);
