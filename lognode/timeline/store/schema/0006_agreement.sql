-- What nodes agree on. All of it follows from spans, but for what says otherwise.

-- The newest span of each feed about a subject that may be its value.
CREATE TABLE latest (
  tenant  INTEGER NOT NULL,
  subject TEXT NOT NULL,
  private INTEGER NOT NULL,  -- 1: of this node alone
  feed    INTEGER NOT NULL,
  seq     INTEGER NOT NULL,
  row     INTEGER NOT NULL,
  PRIMARY KEY (tenant, subject, private, feed)
) STRICT, WITHOUT ROWID;

INSERT INTO latest
SELECT l.tenant, l.value, s.visibility = 0, s.feed, max(s.seq), l.row
FROM labels l JOIN spans s ON s.row = l.row JOIN kinds k ON k.kind = s.kind
WHERE l.field = 1 AND s.status = 0 AND substr(k.name, 1, instr(k.name || '.', '.') - 1) NOT IN (
  'feed', 'tenant', 'member', 'invite', 'identity', 'quorum', 'timeline', 'span', 'rule', 'conflict', 'lease', 'task')
GROUP BY 1, 2, 3, 4;

-- Spans that others take back.
CREATE TABLE reverts (
  tenant INTEGER NOT NULL,
  target BLOB NOT NULL,     -- span id
  row    INTEGER NOT NULL,  -- of the span.revert
  PRIMARY KEY (tenant, target, row)
) STRICT, WITHOUT ROWID;

-- Subjects about which spans were seen that know nothing of each other; a hint where to look.
CREATE TABLE disputes (
  tenant  INTEGER NOT NULL,
  subject TEXT NOT NULL,
  PRIMARY KEY (tenant, subject)
) STRICT, WITHOUT ROWID;

INSERT INTO disputes SELECT tenant, subject FROM latest WHERE private = 0 GROUP BY 1, 2 HAVING count(*) > 1;

-- Where and when the daemon ran last, so that the next start knows a copy.
CREATE TABLE continuity (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  mark BLOB NOT NULL
) STRICT;

-- What merges and openings of feeds say: from entry `seq` of `feed` on its author knew `size` entries of another feed,
-- whose tree had that root. The other feed may not be held yet.
CREATE TABLE merged (
  feed  INTEGER NOT NULL,
  other BLOB NOT NULL,  -- feed id
  seq   INTEGER NOT NULL,
  size  INTEGER NOT NULL,
  root  BLOB NOT NULL,
  PRIMARY KEY (feed, other, seq)
) STRICT, WITHOUT ROWID;

-- The newest cosignature of each witness for each feed, which may not be held yet. `note` is the checkpoint that it is
-- for, where that was held: the one thing here that does not follow from spans.
CREATE TABLE cosignatures (
  tenant    INTEGER NOT NULL,
  feed_id   BLOB NOT NULL,
  witness   BLOB NOT NULL,     -- node key of whoever merged
  size      INTEGER NOT NULL,
  root      BLOB NOT NULL,
  time_s    INTEGER NOT NULL,  -- Unix time in it
  signature BLOB NOT NULL,
  note      BLOB,
  PRIMARY KEY (tenant, feed_id, witness)
) STRICT, WITHOUT ROWID;

-- Feeds of which nodes have no more than their beginning in common: forked ones up to the first entry that differs; and
-- those of whom nobody let in whose act counts, of which nothing does. They need not be held.
CREATE TABLE bounds (
  tenant  INTEGER NOT NULL,
  feed_id BLOB NOT NULL,
  size    INTEGER NOT NULL,
  PRIMARY KEY (tenant, feed_id)
) STRICT, WITHOUT ROWID;

-- Fork proofs that were found here, as files; also by a node that may write no span about them.
CREATE TABLE evidence (
  tenant  INTEGER NOT NULL,
  feed_id BLOB NOT NULL,
  seq     INTEGER NOT NULL,  -- the first entry that differs
  proof   BLOB NOT NULL,
  PRIMARY KEY (tenant, feed_id)
) STRICT, WITHOUT ROWID;

-- Entries of other histories of forked feeds than the one in `spans`, from where they differ, as others gave them. `tip`
-- is the root that is signed at the history's end; `note` a checkpoint behind the entry, where one was given.
CREATE TABLE branches (
  feed       INTEGER NOT NULL,
  tip        BLOB NOT NULL,
  seq        INTEGER NOT NULL,
  hlc        INTEGER NOT NULL,
  visibility INTEGER NOT NULL,
  header     BLOB NOT NULL,
  body       BLOB,
  note       BLOB,
  PRIMARY KEY (feed, tip, seq)
) STRICT, WITHOUT ROWID;
