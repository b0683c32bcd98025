-- Times are RFC 3339 in UTC, those of models to the second, so that they sort as text.
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    sources TEXT NOT NULL,              -- JSON array
    started TEXT NOT NULL,
    ended TEXT,
    outcome TEXT NOT NULL,
    models INTEGER NOT NULL DEFAULT 0,
    deep_checked INTEGER NOT NULL DEFAULT 0,
    bytes_read INTEGER NOT NULL DEFAULT 0,
    errors TEXT NOT NULL DEFAULT '[]'   -- JSON array
);

CREATE TABLE models (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL,
    name TEXT NOT NULL,
    version TEXT,
    state TEXT NOT NULL,
    detail TEXT NOT NULL,
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    signed INTEGER NOT NULL,
    sealed INTEGER NOT NULL,
    root TEXT,
    mark BLOB NOT NULL,                 -- of all its files, as it was last listed
    checked_mark BLOB,                  -- the same, when it was last deeply checked
    checked_claims BLOB,                -- of what was claimed of it then
    checked_tool TEXT,                  -- version of the program that judged it
    good_marks BLOB,                    -- of each file, when its content was last the accepted one
    first_seen TEXT NOT NULL,
    last_seen TEXT NOT NULL,
    last_deep_check TEXT,
    last_run INTEGER NOT NULL REFERENCES runs (id),
    retired INTEGER NOT NULL DEFAULT 0, -- accepted as gone
    baselines_after INTEGER NOT NULL DEFAULT 0, -- earlier ones are those of a model that is gone
    UNIQUE (source, name)
);

CREATE TABLE findings (
    model INTEGER NOT NULL REFERENCES models (id),
    position INTEGER NOT NULL,
    rule TEXT NOT NULL,
    severity TEXT NOT NULL,
    body TEXT NOT NULL,                 -- JSON
    PRIMARY KEY (model, position)
) WITHOUT ROWID;

-- What was accepted, by whom and why. Rows are only ever added.
CREATE TABLE baselines (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model INTEGER NOT NULL REFERENCES models (id),
    version TEXT,
    root TEXT NOT NULL,
    seal BLOB NOT NULL,                 -- zlib of the canonical JSON
    accepted TEXT NOT NULL,
    accepted_by TEXT NOT NULL,
    reason TEXT NOT NULL
);
CREATE INDEX baselines_of_model ON baselines (model, id);
CREATE TRIGGER baselines_stay BEFORE UPDATE ON baselines
    BEGIN SELECT RAISE(ABORT, 'an accepted baseline does not change'); END;
CREATE TRIGGER baselines_remain BEFORE DELETE ON baselines
    BEGIN SELECT RAISE(ABORT, 'an accepted baseline is kept'); END;

-- What a model is now, where that is not its last baseline.
CREATE TABLE found (
    model INTEGER PRIMARY KEY REFERENCES models (id),
    version TEXT,
    seal BLOB NOT NULL,
    marks BLOB NOT NULL
);

-- Every change of state, and every deep check.
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    model INTEGER NOT NULL REFERENCES models (id),
    run INTEGER REFERENCES runs (id),
    at TEXT NOT NULL,
    state TEXT NOT NULL,
    version TEXT,
    root TEXT,
    detail TEXT NOT NULL
);
CREATE INDEX events_of_model ON events (model, id);

-- What a deep check that is at work has measured.
CREATE TABLE journal_objects (
    model INTEGER NOT NULL REFERENCES models (id),
    purpose INTEGER NOT NULL,           -- 0: to digest, 1: to examine
    mark BLOB NOT NULL,                 -- of all files of the model, and of what is wanted of them
    kind INTEGER NOT NULL,
    file INTEGER NOT NULL,
    offset INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    digest BLOB NOT NULL,
    blocks BLOB NOT NULL,
    facts BLOB,                         -- CBOR
    PRIMARY KEY (model, purpose, file, offset, bytes, kind)
) WITHOUT ROWID;

CREATE TABLE journal_files (
    model INTEGER NOT NULL REFERENCES models (id),
    purpose INTEGER NOT NULL,
    mark BLOB NOT NULL,
    file INTEGER NOT NULL,
    finished TEXT NOT NULL,             -- JSON: its digests, its broken checksums
    PRIMARY KEY (model, purpose, file)
) WITHOUT ROWID;

CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
