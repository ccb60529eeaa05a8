-- Drafts that wait for approval on this node. A row is what no span says, so it has a seal by which damage is found.

CREATE TABLE held (
  tenant     INTEGER NOT NULL REFERENCES tenants,
  span       BLOB NOT NULL,     -- id of the rule.fired that tells of it
  draft      BLOB NOT NULL,     -- CBOR; empty once it waits no more
  rule_set   TEXT NOT NULL,
  rule       TEXT NOT NULL,
  role       TEXT NOT NULL,     -- of those who may approve
  needed     INTEGER NOT NULL,  -- so many have to
  created_ms INTEGER NOT NULL,  -- Unix ms, as all times here
  expires_ms INTEGER NOT NULL,
  state      TEXT NOT NULL,     -- waiting, written, denied, expired or rejected
  ended_ms   INTEGER,
  seal       BLOB NOT NULL,
  PRIMARY KEY (tenant, span)
) STRICT;

CREATE INDEX held_waiting ON held (tenant, expires_ms, span) WHERE state = 'waiting';
