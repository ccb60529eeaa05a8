-- The timeline. row = tenant << 40 | position: one integer names a span, and a tenant's arrivals are one range.
-- Tenant numbers count from 0, so that the first tenant's rows stay small in every index.

CREATE TABLE tenants (
  tenant    INTEGER PRIMARY KEY,
  tenant_id BLOB NOT NULL UNIQUE
) STRICT;

-- A node's own names for tenants. Nothing signed covers them, so each row carries a seal for 'verify'.
CREATE TABLE aliases (
  alias  TEXT NOT NULL PRIMARY KEY,
  tenant INTEGER NOT NULL REFERENCES tenants,
  seal   BLOB NOT NULL  -- SHA-256("lognode alias v1" || tenant_id || alias)[:16]
) STRICT, WITHOUT ROWID;

CREATE TABLE feeds (
  feed     INTEGER PRIMARY KEY,
  tenant   INTEGER NOT NULL REFERENCES tenants,
  feed_id  BLOB NOT NULL UNIQUE,
  node_key BLOB NOT NULL,
  log_key  BLOB NOT NULL,
  own      INTEGER NOT NULL  -- 1: this node writes it
) STRICT;

CREATE TABLE kinds (
  kind   INTEGER PRIMARY KEY,
  tenant INTEGER NOT NULL REFERENCES tenants,
  name   TEXT NOT NULL,
  UNIQUE (tenant, name)
) STRICT;

CREATE TABLE actors (
  actor   INTEGER PRIMARY KEY,
  tenant  INTEGER NOT NULL REFERENCES tenants,
  logline BLOB NOT NULL,
  UNIQUE (tenant, logline)
) STRICT;

-- Stub and header. kind, actor, status and caused_by repeat the header so that they can be searched.
CREATE TABLE spans (
  row        INTEGER PRIMARY KEY,
  tenant     INTEGER NOT NULL,
  feed       INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  hlc        INTEGER NOT NULL,
  visibility INTEGER NOT NULL,
  kind       INTEGER NOT NULL,
  actor      INTEGER,
  status     INTEGER NOT NULL,
  caused_by  BLOB,
  header     BLOB NOT NULL
) STRICT;

CREATE INDEX spans_by_time   ON spans (tenant, hlc);
CREATE UNIQUE INDEX spans_by_place ON spans (feed, seq);
CREATE INDEX spans_by_kind   ON spans (kind, hlc);
CREATE INDEX spans_by_actor  ON spans (actor, hlc) WHERE actor IS NOT NULL;
CREATE INDEX spans_by_status ON spans (tenant, status, hlc) WHERE status <> 0;
CREATE INDEX spans_by_cause  ON spans (tenant, caused_by) WHERE caused_by IS NOT NULL;

CREATE TABLE bodies (
  row  INTEGER PRIMARY KEY,
  body BLOB NOT NULL
) STRICT;

-- What bodies say and people search by. field: 0 tag, 1 subject, 2 contract, 3 workflow, 4 flow, 5 origin.
CREATE TABLE labels (
  tenant INTEGER NOT NULL,
  field  INTEGER NOT NULL,
  value  TEXT NOT NULL,
  hlc    INTEGER NOT NULL,
  row    INTEGER NOT NULL,
  PRIMARY KEY (tenant, field, value, hlc, row)
) STRICT, WITHOUT ROWID;

-- Idempotency keys, written with the span that carries them in its body.
CREATE TABLE idems (
  tenant INTEGER NOT NULL,
  idem   BLOB NOT NULL,
  row    INTEGER NOT NULL,
  PRIMARY KEY (tenant, idem)
) STRICT, WITHOUT ROWID;

-- Node hashes of each feed's tree, 256 a tile, from level 1 (subtrees of 256 leaves) up.
CREATE TABLE tiles (
  feed   INTEGER NOT NULL,
  level  INTEGER NOT NULL,
  tile   INTEGER NOT NULL,
  hashes BLOB NOT NULL,
  PRIMARY KEY (feed, level, tile)
) STRICT, WITHOUT ROWID;

-- The signed note of each feed's newest commit, byte for byte.
CREATE TABLE checkpoints (
  feed INTEGER NOT NULL,
  size INTEGER NOT NULL,
  note BLOB NOT NULL,
  PRIMARY KEY (feed, size)
) STRICT, WITHOUT ROWID;

-- /readyz writes here, to know that writing works.
CREATE TABLE heartbeat (
  one     INTEGER PRIMARY KEY CHECK (one = 1),
  unix_ms INTEGER NOT NULL
) STRICT;

CREATE TRIGGER spans_are_never_changed BEFORE UPDATE ON spans
BEGIN SELECT raise(ABORT, 'a span is never changed'); END;
CREATE TRIGGER spans_are_never_deleted BEFORE DELETE ON spans
BEGIN SELECT raise(ABORT, 'a span is never deleted'); END;
CREATE TRIGGER bodies_are_never_changed BEFORE UPDATE ON bodies
BEGIN SELECT raise(ABORT, 'a body is never changed'); END;
CREATE TRIGGER bodies_are_deleted_by_erasure_only BEFORE DELETE ON bodies
BEGIN SELECT raise(ABORT, 'a body is deleted by erasure only'); END;
CREATE TRIGGER bodies_belong_to_a_span BEFORE INSERT ON bodies
WHEN NOT EXISTS (SELECT 1 FROM spans WHERE row = new.row)
BEGIN SELECT raise(ABORT, 'a body needs its span'); END;
