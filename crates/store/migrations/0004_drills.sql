-- The last drill of each instance, and how it ended. Operations are forgotten after a while.
CREATE TABLE drills (
    instance_id TEXT PRIMARY KEY,
    name        TEXT NOT NULL,
    snapshot    TEXT,
    at          BIGINT NOT NULL,
    error       TEXT
);

-- When each part of an instance's stored data was read back last.
CREATE TABLE read_parts (
    instance_id TEXT NOT NULL,
    part        BIGINT NOT NULL,
    at          BIGINT NOT NULL,
    PRIMARY KEY (instance_id, part)
);
