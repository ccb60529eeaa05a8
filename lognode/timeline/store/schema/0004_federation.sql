-- A timeline that other nodes write too.

-- Entries of feeds that are no spans of the timeline: what is withheld from this node (header is its 32-byte hash),
-- and what is correctly signed but void whatever else is known, with the reason. They take no position.
CREATE TABLE inert (
  feed       INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  hlc        INTEGER NOT NULL,
  visibility INTEGER NOT NULL,
  header     BLOB NOT NULL,
  body       BLOB,
  reason     TEXT NOT NULL,
  PRIMARY KEY (feed, seq)
) STRICT, WITHOUT ROWID;

-- Control spans ahead of the ranges that hold them, each proven against a checkpoint of its feed, whose feed.open is
-- among them while no row of feeds is. They go when their range arrives.
CREATE TABLE foretold (
  tenant     INTEGER NOT NULL REFERENCES tenants,
  feed_id    BLOB NOT NULL,
  seq        INTEGER NOT NULL,
  hlc        INTEGER NOT NULL,
  visibility INTEGER NOT NULL,
  header     BLOB NOT NULL,
  body       BLOB NOT NULL,
  note       BLOB NOT NULL,
  path       BLOB NOT NULL,  -- hashes of the inclusion proof
  PRIMARY KEY (tenant, feed_id, seq)
) STRICT, WITHOUT ROWID;

-- Derived from control spans, in the commit that changes them: where feeds were cut, and which control spans are void.
CREATE TABLE cuts (
  feed   INTEGER PRIMARY KEY,
  size   INTEGER NOT NULL,  -- entries from here on are void
  reason TEXT NOT NULL
) STRICT;

CREATE TABLE voids (
  row    INTEGER PRIMARY KEY,
  reason TEXT NOT NULL
) STRICT;

-- Where nodes were told to be, and how trying it went; hints alone, which nothing else in this file depends on.
CREATE TABLE addresses (
  node_key   BLOB NOT NULL,
  address    TEXT NOT NULL,     -- HOST:PORT
  sources    TEXT NOT NULL,     -- words, with spaces between them
  told_ms    INTEGER NOT NULL,  -- Unix ms; 0 for never
  reached_ms INTEGER NOT NULL,
  failed_ms  INTEGER NOT NULL,
  error      TEXT NOT NULL,     -- code of the last failure, or nothing
  PRIMARY KEY (node_key, address)
) STRICT, WITHOUT ROWID;

-- Joiners that a person has to approve, each with what it asked last. Times are Unix ms.
CREATE TABLE petitions (
  tenant    INTEGER NOT NULL REFERENCES tenants,
  node_key  BLOB NOT NULL,
  invite_id BLOB NOT NULL,
  request   BLOB NOT NULL,
  first_ms  INTEGER NOT NULL,
  newest_ms INTEGER NOT NULL,
  PRIMARY KEY (tenant, node_key)
) STRICT, WITHOUT ROWID;

-- Members of tenants that this node joined and knows nothing of yet: whom to get the first spans from.
CREATE TABLE introductions (
  tenant      INTEGER NOT NULL REFERENCES tenants,
  node_key    BLOB NOT NULL,
  certificate BLOB NOT NULL,
  addresses   TEXT NOT NULL,  -- HOST:PORT, with spaces between them
  PRIMARY KEY (tenant, node_key)
) STRICT, WITHOUT ROWID;
