"""Every bound of lognode, with its unit last and its reason.

Owns numbers only. The ones under "format" belong to format version 1: a change there is a new format,
because two nodes that disagree on them would disagree on what is void.
"""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB

# Format. Small enough to hold in memory many times over, large enough for a status page or a document.
FORMAT_VERSION: Final = 1
HEADER_BYTES_MAX: Final = KIB
BODY_BYTES_MAX: Final = MIB
DEPTH_MAX: Final = 16  # nesting of arrays and maps in data, metadata and annotations
PARTS_MAX: Final = 65_536  # values and keys in one value, at any depth: decoding takes some 20 ms, all in one go
KIND_BYTES_MAX: Final = 64
CUTS_MAX: Final = 10_000  # feeds that one removal names, some 60 bytes each; a node has one more with each restore
AFTER_MAX: Final = 1024  # control spans that one of ours names, 26 bytes each; it names the newest of each feed at most
INVITE_USES_MAX: Final = 10_000  # joiners of one invite
ADMISSION_DEPTH_MAX: Final = 32  # of whom one admitted whom; membership is computed once for each depth
CONTESTS_MAX: Final = 8  # judgings in which losers make others count, before no more may: else one key costs cubes
JUDGINGS_MAX: Final = 512  # of all acts, for one membership; two for each depth and turn are needed where most happens

RULE_SETS_MAX: Final = 64  # in force in a tenant at once, the first by name
RULE_SETS_BYTES_MAX: Final = 256 * KIB  # of the texts of these together: seconds of reading when a node starts
RULE_TEXTS_VAIN_BYTES_MAX: Final = MIB  # of texts in a past that are read and turn out to be no rule sets, some seconds
RULE_TEXT_VAIN_BYTES_MIN: Final = 4 * KIB  # as which the shortest of these is counted
FIRED_RULES_MAX: Final = 256  # of one firing; a span that more rules speak of is told of the first ones
FIRED_BYTES_MAX: Final = 64 * KIB  # of its data: what rules read is shown, and may be as large as a span
HELD_JSON_BYTES_MAX: Final = 32 * KIB  # of a draft that waits: who approves sees all of it, in one firing
HELD_WAITING_MAX: Final = 1000  # drafts of a tenant that wait for approval at once; people look at each
APPROVAL_NOTE_BYTES_MAX: Final = 4 * KIB  # that goes with an approval or a denial
APPROVALS_SHOWN_MAX: Final = 4096  # first words of feeds about one draft that waits; no tenant has so many members
APPROVAL_ENDINGS_MAX: Final = 16  # firings that one causes, of which its end is among the first
APPROVALS_WAIT_S: Final = 1.0  # at most, behind a deadline by the wall clock, which may be set
APPROVALS_READ_MAX: Final = 500  # of which those of one list are chosen
APPROVALS_PAGE_MAX: Final = 100  # of one list; each is looked up
APPROVALS_TOLD_STEP: Final = 64  # looked at in one read, to tell of them; some milliseconds

MERGE_FEEDS_MAX: Final = 1024  # that one merge names, some 130 bytes each; what is left is named by the next one
TIME_S_MAX: Final = 2**63 - 1  # of a cosignature, as its specification says
COSIGNATURES_READ_MAX: Final = 256  # of one feed, for one proof: some milliseconds of signatures
COSIGNATURES_MAX: Final = 15  # on one checkpoint, so that with the log's it has the 16 that any reader takes

# Requests. A line may be larger than the body it makes, since JSON escapes cost up to six times.
DRAFT_LINE_BYTES_MAX: Final = 2 * MIB
DRAFT_QUICK_BYTES_MAX: Final = 8 * KIB  # of one that the event loop parses itself, some milliseconds at worst
COPY_BYTES_MAX: Final = 8 * KIB  # of a line: left free by the JSON form of a draft for place and origin of its copies
TAGS_MAX: Final = 64
RELATED_MAX: Final = 64
ORIGIN_VIA_MAX: Final = 16  # copies of copies that an origin names; each is a row to be found by
ORIGIN_BYTES_MAX: Final = 4 * KIB  # of a body: left free in each span that is no copy, for copies and restored ones
TEXT_BYTES_MAX: Final = 4 * KIB  # title, subject, the three ids, one tag: they are shown and indexed whole
IDEMPOTENCY_KEY_BYTES_MAX: Final = 256
RUN_NAME_BYTES_MAX: Final = 64  # of a replay: it stands in an origin, and in a key beside a span's id
PAGE_SPANS_DEFAULT: Final = 100
PAGE_SPANS_MAX: Final = 1000
PAGE_BYTES_MAX: Final = 4 * MIB  # of stored bodies, in a page or a walk; one span is given however large
PAGE_STEP_SPANS_MAX: Final = 16  # read before a page looks at what they weigh; smaller steps take more time
SUBJECTS_PAGE_MAX: Final = 100  # of one list; each may be in conflict, and is folded when it is read
HEADS_SHOWN_MAX: Final = 64  # of one conflict: as many nodes that knew nothing of each other
CONFLICTS_LOOK_S: Final = 0.25  # between two looks at what commits hint at
CONFLICTS_STEP_SUBJECTS: Final = 64  # looked at in one read: some milliseconds
CONFLICTS_SLOW_S: Final = 0.05  # of one read; beyond, subjects are looked at one by one where the writer would wait
CONFLICTS_WATCHED_MAX: Final = 10_000  # of a tenant, whose coming and going is told; some 100 bytes each
HEADS_NAMED_MAX: Final = 1024  # by one resolution, for people; some 40 bytes each
RULE_SET_VERSIONS_MAX: Final = 1000  # of one name that are listed, the newest; some 200 bytes each
RULE_SETS_PAGE_MAX: Final = 100  # of one list; each is looked up
PUBLISH_TRIES_MAX: Final = 4  # of one change while others are made
WALK_SPANS_MAX: Final = 1000  # one answer of causes or effects
FILTER_KINDS_MAX: Final = 64  # each is an index scan of its own in one statement, of which SQLite takes 500
UPLOAD_SPANS_MAX: Final = 1000  # of one stream in one commit
PART_BYTES_MAX: Final = 64 * KIB  # inflated at once: some milliseconds of parsing
LINE_DIGITS_MAX: Final = 12  # of a line number, which is added to a stream's key
REHEARSED_KEYS_MAX: Final = 65_536  # of one dry run: some 200 bytes each
RUNS_MAX: Final = 65_536  # of receipts=all: some megabytes; only duplicates in an order of their own come near it
RECEIPTS_READ_MAX: Final = 64  # at once: less than a millisecond of a reader
SUBSCRIPTIONS_MAX: Final = 32  # of one socket; each wakes on every commit
REF_BYTES_MAX: Final = 256  # of a frame; it is kept while its append or subscription lasts
SOCKET_APPENDS_MAX: Final = 1024  # unacknowledged appends of one WebSocket; beyond, it is not read

# Rule documents. They are read where they are published, and again by each node that keeps to them.
RULE_SET_BYTES_MAX: Final = 64 * KIB  # a thousand short rules; read in a second
RULE_SET_NODES_MAX: Final = 16_384  # keys, values, lists and maps: the reader takes 30,000 a second
RULE_SET_DEPTH_MAX: Final = 16  # nesting of maps and lists
RULE_SET_FAULTS_MAX: Final = 100  # told at once; who makes more is helped by the first ones
RULES_MAX: Final = 1000  # of one set
RULE_NAME_CHARS_MAX: Final = 64  # of a set, rule, window, variable: they stand in every firing
RULE_KINDS_MAX: Final = 64  # that a rule or window names
RULE_ACTIONS_MAX: Final = 16  # of one rule
RULE_WINDOWS_MAX: Final = 8  # of one rule; each costs rows for every span of its kinds
RULE_LAST_MAX: Final = 8  # of one rule; each is a look into the causal past
RULE_DEPENDENCIES_MAX: Final = 16  # of one rule
RULE_VARIABLES_MAX: Final = 256  # of one set
RULE_PARTS_MAX: Final = 64  # conditions in one list, paths in one condition
RULE_PRIORITY_MAX: Final = 1000
RULE_PATH_SEGMENTS_MAX: Final = 16  # no data is nested deeper
RULE_PATH_BYTES_MAX: Final = 256
RULE_TEMPLATE_PARTS_MAX: Final = 64  # of one text
RULE_WINDOW_MS_MIN: Final = 1000
RULE_WINDOW_MS_MAX: Final = 31 * 24 * 3600 * 1000  # rows are kept so long
RULE_AFTER_MS_MIN: Final = 1000  # below, a task is late anyway
RULE_AFTER_MS_MAX: Final = 366 * 24 * 3600 * 1000
RULE_WITHIN_MS_MIN: Final = 60 * 1000  # people have to be asked
RULE_WITHIN_MS_MAX: Final = 90 * 24 * 3600 * 1000
RULE_APPROVALS_MAX: Final = 16  # that one draft waits for
RULE_CRON_CHARS_MAX: Final = 128
RULE_CRONS_MAX: Final = 64  # different ones of a set: finding out that one is never due takes 50 ms

# Writer. One group is one transaction and one fsync: beyond 1,024 spans the fsync is no longer what costs.
GROUP_SPANS_MAX: Final = 1024
GROUP_BYTES_MAX: Final = 4 * MIB
MAILBOX_SPANS_MAX: Final = 8 * GROUP_SPANS_MAX  # about a quarter of a second of work
MAILBOX_BYTES_MAX: Final = 32 * MIB
LEDGER_FEEDS_MAX: Final = 4096  # of others, kept in memory: some kilobytes each, 20 ms to read one again
BUSY_RETRY_S: Final = 1
GATE_S_MAX: Final = 0.1  # that rules judge drafts for one group, or spans in one look; the others come next
MERGE_IDLE_S: Final = 1  # what came from others waits so long for an own span, whose commit costs it nothing
MERGE_RETRY_S: Final = 60  # between looks at what cannot be merged yet, such as spans ahead of now
MERGE_LOOKS_MAX: Final = 64  # checkpoints of one feed that are looked at for one that may be merged

HISTORY_STEP_ROWS: Final = 64  # of a look back for what a feed said about a subject; the first is mostly enough
HISTORY_STEP_ROWS_MAX: Final = 4096  # steps grow up to this; a row is read in a microsecond
ALERTS_KEPT_S: Final = 30 * 24 * 3600  # what happened to own feeds is told so long: who looks once a month sees it
DOUBT_S: Final = 2  # after a start: so long a write waits for members that may know more of this node's feed

RESTORED_SPANS: Final = 1000  # copies in one commit
RESTORED_BYTES: Final = GROUP_BYTES_MAX // 2  # of headers and bodies of what they restore
RESTORE_OTHERS_S: Final = 20  # another copy of this node, if it runs, restores what it wrote within this time
RESTORE_LOOK_S: Final = 10  # between looks for what a feed that ended had more of, when nothing tells of it

# Time. A clock further ahead than this is taken for broken, not for fast.
CLOCK_AHEAD_MS_MAX: Final = 10 * 60 * 1000

# Proofs. A note may carry 16 signatures, as its specification demands, of the longest kind: 5 kB each.
SIZE_MAX: Final = 2**63 - 1  # entries of a feed
NOTE_BYTES_MAX: Final = 128 * KIB
PROOF_BYTES_MAX: Final = NOTE_BYTES_MAX + 4 * KIB  # 63 hashes of 45 bytes and three short lines
ROOTS_KEPT_MAX: Final = 4096  # of forked feeds where they fork, some 200 bytes each; 256 entries to hash one again
SEARCH_ASKS_MAX: Final = 64  # of one search for a fork: from a million entries to one it takes some twenty
SEARCH_STEP_SPANS: Final = 1024  # the first step back of a search; each later one is four times as long
SEARCHES_MAX: Final = 4  # of one run; the others wait for the next
PROOFS_READ_MAX: Final = 16  # of forks in a range that is refused; each takes three signatures
BRANCHES_MAX: Final = 8  # other histories of one feed that are kept; one is enough to prove that it forks
BRANCH_BYTES_MAX: Final = 16 * MIB  # of one of them, which is in memory at once
PATH_HASHES_MAX: Final = 63  # of an inclusion proof, in a tree of SIZE_MAX
FORK_NOTE_BYTES_MAX: Final = KIB  # a checkpoint with one Ed25519 signature; 400 bytes are usual
FORK_BYTES_MAX: Final = 16 * KIB  # two openings, two proofs and their checkpoints as text
POLICY_BYTES_MAX: Final = MIB  # of logs and witnesses, some 200 bytes each
POLICY_LINES_MAX: Final = 10_000
# Checkpoints that are kept besides the newest, so that others can be told of a feed in ranges that are proven whole.
MILESTONE_SPANS: Final = 1024  # between two kept ones, and a commit more
MILESTONE_BYTES: Final = 4 * MIB  # of headers and bodies between them, and a commit more
RANGE_SPANS_MAX: Final = 3 * MILESTONE_SPANS  # to the second kept checkpoint behind any size: one is in reach
RANGE_BYTES_MAX: Final = 16 * MIB  # the same of headers and bodies; both sides hold some ranges at once

# Bundles. An item is a span or, the largest, a feed: its checkpoint and the body of its opening.
BUNDLE_ITEM_BYTES_MAX: Final = BODY_BYTES_MAX + HEADER_BYTES_MAX + NOTE_BYTES_MAX + 4 * KIB
BUNDLE_QUERY_BYTES_MAX: Final = 64 * KIB  # escaped, three bytes for one; a request line that comes whole may be longer
BUNDLE_FEEDS_MAX: Final = 10_000  # a reader keeps a path of some kilobytes for each
BUNDLE_STEP_SPANS: Final = 256  # read and proven at once: some milliseconds of a reader
SECRET_BYTES_MAX: Final = 4 * KIB  # a passphrase or token; more is a file named by mistake

# Connections.
CONNECTIONS_MAX: Final = 512  # below the usual limit of 1,024 descriptors, with room for files
IDLE_S_MAX: Final = 75  # longer than most clients keep a connection, so that they are the ones to close it
STOP_S_MAX: Final = 10  # a commit takes milliseconds; streams end by themselves when the node stops
DRAIN_S_MAX: Final = 5  # how long a refused upload is still read, so that its sender sees the answer
RECEIVE_BYTES_MAX: Final = 64 * KIB
SEND_BYTES_MAX: Final = 256 * KIB  # at once, so that a slow but living reader meets no deadline
QUEUE_MESSAGES_MAX: Final = 8  # of one connection, RECEIVE_BYTES_MAX each, that wait for the application
FRAMES_MAX: Final = 4  # of one WebSocket that wait for its handler; hypercorn holds a few more
FRAME_BYTES_MAX: Final = DRAFT_LINE_BYTES_MAX + 4 * KIB  # a draft, and what a frame says around it

# Sockets.
TAIL_HEARTBEAT_S: Final = 15  # below the usual 30 s of proxies
TAIL_SEND_S_MAX: Final = 60  # a reader that takes nothing for so long is gone
READY_S_MAX: Final = 5
DISK_FREE_BYTES_MIN: Final = 64 * MIB  # below, /readyz says no: room for a WAL and a checkpoint of it

# Live tails and pages. A tail reads some spans, fewer where they are large, then looks at what they weigh as JSON.
TAIL_STEP_SPANS_MAX: Final = 16
TAIL_BATCH_BYTES_MAX: Final = 256 * KIB  # one step may double it, two spans of any size pass
TAIL_BATCH_STEPS_MAX: Final = 16
TAIL_ROWS_MAX: Final = 10_000  # one look of a live tail: some milliseconds of a reader
KNOWN_SPANS_MAX: Final = 4096  # of what a node knew, looked at for one page: hundredths of a second, tenths with words
LEAD_ROWS_MAX: Final = 1024  # so many candidates are sorted sooner than an order is walked past what fails

# Links to other nodes.
NOTICES_WAITING_MAX: Final = 256  # of one live tail: news of nodes, some hundred bytes each; then the oldest go
WANTS_SHOWN_MAX: Final = 100  # of one peer, in one answer
FINDINGS_SHOWN_MAX: Final = 100  # of one tenant, in one answer: authors by reasons
PROGRESS_S: Final = 0.2  # between two notices of how far one peer is; nobody reads faster
LINK_RETRY_S_MIN: Final = 0.5
LINK_RETRY_S_MAX: Final = 15  # soon enough that nobody waits for a peer that is back
LINK_TURN_S: Final = 2  # the node with the smaller key dials first; so long the other lets it
LINK_WELL_S: Final = 10  # a session held so long: what ended it has nothing to do with what ended earlier ones
KNOWN_FEEDS_MAX: Final = 8192  # that a peer said it holds since the last comparison, some hundred bytes each
PULSE_S: Final = 15  # between signs of life when there is nothing else to say; each is answered by a comparison
RESYNC_S: Final = 60  # between comparisons that nothing asked for, some hundred bytes each
RESYNC_S_MIN: Final = 0.5  # between any two, doubled while they find no agreement
CLONE_SHOWN_S: Final = 600  # two copies of a node both speak within this time, if they speak at all

# Full text.
INDEX_STEP_SPANS: Final = 200  # some milliseconds, for which a commit may have to wait
INDEX_RETRY_S: Final = 5

# Service. A part of the node that fails is tried again after half a second, then after twice as long each time.
RESTART_S_MIN: Final = 0.5
RESTART_S_MAX: Final = 60  # soon enough that nobody restarts by hand what mends itself
RESTART_WELL_S: Final = 60  # it ran so long: what failed before has nothing to do with what fails now
NOTIFY_S_MAX: Final = 0.2  # for one message to the service manager; one that hangs delays a request by so much

# Addresses of other nodes. Hints, that anyone on the link may send: enough for real networks, soon read through.
NODE_ADDRESSES_MAX: Final = 16  # of one node: some interfaces, each with IPv4 and IPv6
ADDRESSED_NODES_MAX: Final = 4096  # members of all tenants, whose addresses are kept
ADDRESS_DAYS_MAX: Final = 30  # an address that neither answered nor was told for so long is somebody else's
STATIC_PEERS_MAX: Final = 64  # of the setting `peers`: a person wrote them
CANDIDATES_MAX: Final = 256  # announcements kept, some 200 bytes each
CANDIDATE_HOSTS_MAX: Final = 8  # of one announcement
CANDIDATE_DIAL_S: Final = 1  # between tries of what nobody vouches for, so that a flood of it reaches nobody else
ADDRESSES_TRIED_MAX: Final = 8  # of one node in one try
ADDRESSES_SAVE_S: Final = 10  # between writes of what was learnt, not by a join; losing it costs one more try
INTERFACES_LOOK_S: Final = 5  # between looks at the machine's interfaces: a node that moves is found again by then
DISCOVERY_RETRY_S_MAX: Final = 3600  # between tries of sockets that fail; each makes others think that the node left
DISCOVERY_STOP_S_MAX: Final = 3  # saying good-bye takes less than one

# Mirror.
MIRROR_SEGMENT_BYTES_MAX: Final = 64 * MIB  # the newest one is read at start: less than a second
MIRROR_SYNC_S: Final = 1  # between fsyncs, so that they do not stand in the way of commits
MIRROR_SILENCE_S_MAX: Final = 30  # then its file system hangs, such as one of a server that is gone
MIRROR_CLOSE_S_MAX: Final = 1  # so long a node that ends waits for what has begun

# Store.
LOCK_RETRY_S: Final = 0.05
GC_OBJECTS: Final = 20_000  # that are made between two searches for garbage among the newest: a few MB at most
READERS: Final = 3  # two cores, plus one so that a long scan leaves a reader free
TENANT_SHIFT_BITS: Final = 40  # row = tenant << 40 | position: 10^12 spans a tenant, 8 million tenants

# Invites and joining. What a stranger may send is small; what a node keeps for strangers is counted.
INVITE_SERVERS_MAX: Final = 4  # root members that an invite names: more makes its QR code hard to read
INVITE_CHARS_MAX: Final = 32 * KIB  # of its text: the longest one is half of that
ADDRESS_CHARS_MAX: Final = 261  # the longest host name, a colon and a port
ADDRESSES_MAX: Final = 8  # of one node: of some interfaces, in IPv4 and IPv6
JOIN_REQUEST_BYTES_MAX: Final = 4 * KIB  # keys, a certificate, two signatures, addresses
JOIN_ANSWER_BYTES_MAX: Final = 64 * KIB
JOIN_PEERS_MAX: Final = 16  # that a joiner is told of; the timeline names the others
CERTIFICATE_BYTES_MAX: Final = KIB  # they have one form, of some 300 bytes
FEDERATION_REQUEST_BYTES_MAX: Final = 64 * KIB  # of the API: the longest invite, twice
JOIN_RETRY_S_MAX: Final = 3600  # between a joiner's questions whether it was approved
JOIN_RETRY_S: Final = 3  # a person approves within minutes
PETITIONS_MAX: Final = 256  # joiners of a tenant that wait for approval, some kilobyte each
PETITIONS_EACH_MAX: Final = 64  # by one invite, so that who holds one leaves room to those of others
JOIN_S_MAX: Final = 30  # for what an invite names
JOIN_PROOF_S_MAX: Final = 20  # until the first spans are here; with what precedes, clients still wait
JOIN_SEARCH_S_MAX: Final = 6  # for what is announced, once all that the invite names was tried
LISTEN_S_MAX: Final = 3  # until the join listener is up behind the first invite
INVITE_S_DEFAULT: Final = 24 * 60 * 60  # a joiner's owner is at hand
INVITE_S_MAX: Final = 366 * 24 * 60 * 60

# Between nodes. Both sides of a link hold a message or two at once.
VERSIONS_MAX: Final = 8  # that a node says it speaks; it is one, or two
MESSAGE_HEAD_BYTES_MAX: Final = MIB  # of its structure, which a decoder blows up to eight times as much
REQUEST_HEAD_BYTES_MAX: Final = 128 * KIB  # of one that a peer sends as often as it likes; the fullest has 66 kB
MESSAGE_ENTRIES_MAX: Final = 8192  # of all its ranges: some 30 ms of decoding; BATCH_BYTES_MAX is full sooner
MESSAGE_BYTES_MAX: Final = RANGE_BYTES_MAX + 2 * MIB  # one range however large, and what is around it
BATCH_BYTES_MAX: Final = MIB  # of headers and bodies in a message, unless one range or span has more; two are under way
BATCH_ITEMS_MAX: Final = 1024  # ranges, control spans or feeds in a message
CONTROLS_READ_MAX: Final = 8 * BATCH_ITEMS_MAX  # for one answer: some hundred milliseconds of proofs
ENTRY_BYTES_EXTRA: Final = 128  # of memory that an entry takes besides its bytes
EXPAND_PREFIXES_MAX: Final = 256  # in a message: an answer of 250 kB
EXPAND_HEADS_MAX: Final = 16  # below this many feeds, naming them is shorter than fingerprints
RUN_FEEDS_MAX: Final = 65_536  # that differ, of one run: some hundred bytes each; the next run goes on
RUN_ROUNDS_MAX: Final = 8  # of one run: two do, unless the other's word is worth nothing or much is written meanwhile
RUN_ASKS_MAX: Final = 16_384  # requests of one run; enough for a hundred million spans
RUN_DIRECT_SPANS_MAX: Final = 1024  # missing in all: their ranges come at once, and their control spans with them

# Connections of nodes. A node has one or two to each other one.
PEER_CONNECTIONS_MAX: Final = 256  # of all peers together: their files, and some 100 kB of TLS each
PEER_CONNECTIONS_EACH_MAX: Final = 32  # of one peer: a stream for each tenant, calls, and some that it lost sight of
CALL_CONNECTIONS_MAX: Final = 28  # to one peer, which takes a few more
STRANGER_CONNECTIONS_MAX: Final = 64  # that have not shown who they are, or need not
STRANGER_CONNECTIONS_EACH_MAX: Final = 8  # of one address, behind which there may be several nodes
HANDSHAKE_S_MAX: Final = 10  # two round trips, on a slow line with a slow machine at its end
FAREWELL_S_MAX: Final = 1  # for whom no handshake is possible, to be told why
DIAL_S_MAX: Final = 5  # until an address answers; then the next one is tried
CALL_S_MAX: Final = 60  # for a call without its bytes: a peer that is asked may have to commit first
CALL_BYTES_S_MIN: Final = 64 * KIB  # that a call must move a second beyond this; a slower line cannot keep up
FOLLOW_SILENCE_S_MAX: Final = 3 * TAIL_HEARTBEAT_S  # two signs of life may be late
ROSTER_LOOK_S_MAX: Final = 60  # the clock may have been set, on which the end of an invite depends
DIALS_MAX: Final = 256  # peers to which connections are kept
PEER_CALLS_S: Final = 500  # of one peer or tenant, in the long run; a live link needs one for each of our commits
PEER_BYTES_S: Final = 64 * MIB  # of one peer or tenant, both ways: more than two cores can verify
PEER_WORK_S: Final = 0.25  # of the event loop in each second, to read what one peer says: others have their turns
PEER_BURST_S: Final = 4  # so many seconds of all of these may come at once
PEER_WAIT_S_MAX: Final = 20  # so long a call waits for its turn, then it is refused
PEER_HELD_BYTES_MAX: Final = 2 * MESSAGE_BYTES_MAX  # of one peer: requests and answers under way
PEERS_HELD_BYTES_MAX: Final = 4 * MESSAGE_BYTES_MAX  # of all peers together, besides small calls
PEER_CALL_BYTES_SMALL: Final = 256 * KIB  # of a call that waits for nobody else's: most are smaller
STRANGER_S_MAX: Final = 60  # for all that a stranger does on one connection
JOIN_CALLS_S: Final = 50  # of all strangers together: each costs a millisecond of signatures
JOIN_CALLS_EACH_S: Final = 5  # of one address, at which several nodes may ask whether they were approved
JOIN_BYTES_S: Final = JOIN_CALLS_S * JOIN_ANSWER_BYTES_MAX

# Causal order.
CLAIMS_TRIED_MAX: Final = 16  # of one feed about another: honest ones are true, the newest says all

# Rules. What one span may cost, whatever a rule set says and a span holds.
TRACE_TEXT_CHARS_MAX: Final = 200  # of a value in a trace: enough to recognise it
TRACE_ITEMS_MAX: Final = 16  # of a list or map in a trace
SAMPLE_KEY_BYTES_MAX: Final = 64  # of a window's key; a longer one is kept as its hash
CEL_BYTES_MAX: Final = KIB  # of an expression: some lines
CEL_PAYLOAD_BYTES_MAX: Final = 64 * KIB  # of all that an expression reads of one span
CEL_ITERATIONS_MAX: Final = 10_000  # of an expression's loops together: the library's bound, which cannot be set
CEL_PATTERN_SIZE_MAX: Final = 1000  # steps of a regular expression, each of which may cost 35 ns a character
TRACE_CONDITIONS_MAX: Final = 200  # of one trace; what lies beyond is judged and not told
TRACED_CONDITIONS_MAX: Final = 500  # of all traces of a span that nobody asked for: some milliseconds
TRACE_BYTES_MAX: Final = 8 * KIB  # of one trace's values and conditions
TEMPLATE_VALUE_CHARS_MAX: Final = 256  # of a value in a text: whoever fills it must not hide the text around it
COMPARED_PARTS_COST: Final = 200  # nanoseconds to compare a part of two lists or maps
CEL_COST_SMALL: Final = 100_000  # nanoseconds; above, it is looked at how large values really are
RULE_COST_MAX: Final = 20_000_000  # nanoseconds that one rule may take, by a bound of what it does
SPAN_COST_MAX: Final = 40_000_000  # nanoseconds that all rules of a span may take together
WINDOW_COST: Final = 400_000  # nanoseconds that counting a window takes, so that a span reads a hundred at most
LAST_COST: Final = 200_000  # nanoseconds that finding the newest span of a subject takes
RULE_COST_SURE: Final = 20_000  # nanoseconds that each rule may take, whatever others before it took
KINDS_KEPT_MAX: Final = 4096  # of an index of rules: whoever writes spans chooses their kinds
EFFECTS_MAX: Final = 64  # of all rules on one span, besides verdicts
EFFECT_BYTES_MAX: Final = 64 * KIB  # of one effect: a value that it takes over may be as large as a span
EFFECTS_BYTES_MAX: Final = 256 * KIB  # of all effects of one span
NOTES_BYTES_MAX: Final = 8 * KIB  # that rules write into the annotations of one span
HOPS_MAX: Final = 8  # spans in a row that rules made, each set off by the one before

# Tasks. What is done later must not fill the disk, nor take the node from what is done now.
TASK_PAYLOAD_BYTES_MAX: Final = 256 * KIB  # of what a task does; it stands in its row, and in memory while it runs
TASK_REQUEST_BYTES_MAX: Final = 2 * TASK_PAYLOAD_BYTES_MAX  # as JSON, which escapes
TASK_ATTEMPTS_MAX: Final = 30  # of one task: with the pauses between them more than half a day
TASK_BACKOFF_S_MIN: Final = 2
TASK_BACKOFF_S_MAX: Final = 60 * 60  # soon enough that nobody queues by hand what mends itself
TASK_RETRY_AFTER_S_MAX: Final = 24 * 60 * 60  # that a receiver may ask for
TASK_DELAY_S_MAX: Final = 10 * 366 * 24 * 60 * 60  # beyond, it is a mistake of units
TASKS_RUNNING_MAX: Final = 192  # at once: their payloads are in memory
TASKS_RUNNING_EACH_MAX: Final = 96  # of one tenant, so that half is left to others
TENANT_SHARES: Final = 2  # into which the room for each kind is cut; a tenant has one
EMITS_RUNNING_MAX: Final = 128  # they share commits: more at once make none quicker
WEBHOOKS_RUNNING_MAX: Final = 32  # each a connection that may hang for half a minute
WEBHOOK_RUNNING_EACH_MAX: Final = 8  # of these to one webhook, so that one that hangs leaves room to others
JOURNALS_RUNNING_MAX: Final = 8
TASKS_WAITING_MAX: Final = 100_000  # of one tenant, some kilobyte each
TASKS_ENDED_MAX: Final = 10_000  # of one tenant that are kept for people to look at; the oldest go
TASKS_KEPT_S: Final = 30 * 24 * 60 * 60  # so long one that ended is kept
TASKS_SWEEP_S: Final = 60 * 60  # between two looks for those that may go
TASKS_LOOK_S: Final = 15  # between looks at what is due, however the clock was set
TASKS_PAGE_MAX: Final = 100  # of one list
TASKS_DRAIN_S_MAX: Final = 30  # so long a request waits for what runs to end
TASKS_STOP_S_MAX: Final = 5  # so long what runs may go on when the node stops; then it is tried at the next start
SCHEDULES_MAX: Final = 1000  # of one tenant
SCHEDULE_NAME_CHARS_MAX: Final = 100
CRON_CHARS_MAX: Final = 100
INTERVAL_S_MIN: Final = 1
INTERVAL_S_MAX: Final = 366 * 24 * 60 * 60
RUN_GRACE_S: Final = 60  # a run that is not older was not missed: the finest cron expression is due each minute
RUNS_DUE_MAX: Final = 1000  # of one schedule in one transaction

# Webhooks. Whoever answers is a stranger.
WEBHOOKS_MAX: Final = 64
WEBHOOK_URL_CHARS_MAX: Final = 2000
WEBHOOK_SECRET_BYTES_MIN: Final = 16
WEBHOOK_SECRET_BYTES_MAX: Final = KIB
WEBHOOK_ANSWER_BYTES_MAX: Final = 64 * KIB  # that is read of an answer, so that its connection ends in order
WEBHOOK_CONNECT_S_MAX: Final = 5
WEBHOOK_S_MAX: Final = 30  # for one attempt, redirections and all
WEBHOOK_REDIRECTS_MAX: Final = 3
WEBHOOK_ADDRESSES_MAX: Final = 4  # of one name that are tried

# Rules: what is read of the past for one span.
WINDOW_SLICE_SPANS: Final = 512  # that are put into windows in one go of the database's thread, and four
WINDOW_TURN_SPANS: Final = 2048  # times that while the writer waits, mostly for what came since: some 50 ms
WINDOW_WAIT_S_MAX: Final = 20  # that an append waits for windows that are not full yet
WINDOW_COUNTED_MAX: Final = 10_000  # of one window and key; more are not counted
WINDOW_MEASURED_MAX: Final = 100_000  # of one window and key that are summed or told apart, in 10 ms at the worst
WINDOW_KEPT_SAMPLES: Final = 500_000  # of keys asked for last, some 50 bytes each, so that no row is looked at again
WINDOW_TABLES_MAX: Final = 256  # of one node; those that were asked for longest ago are made again when asked for
REJECTIONS_GATHERED_MAX: Final = 4096  # rules and actors whose rejections are counted for a minute
REJECTIONS_BYTES_MAX: Final = 16 * MIB  # about the memory of what is to be told of these
LAST_TRIED_MAX: Final = 256  # newest spans about a subject among which the last one that is named is looked for
LOOKED_SPANS_MAX: Final = 100_000  # of one window that are looked at to recheck a decision, some seconds
FOLLOWERS_LOOKED_MAX: Final = 4096  # spans that name one as their cause, among which a recheck looks for firings
TRIAL_SPANS: Final = 128  # that rules on trial judge in one go of a reader's thread
TRIALS_MAX: Final = 2  # of rule sets at once on a node: a reader is left for everybody else
TRIAL_CHAIN_MAX: Final = 1000  # spans that are followed from one in a trial, each emitted for another

# Reactions.
REACTION_SPANS: Final = 256  # that are looked at in one go of the database's thread
REACTION_DRAFTS: Final = 512  # that follow from them, after which they are written; one span may set off EFFECTS_MAX
REACTION_BYTES: Final = GROUP_BYTES_MAX // 2  # of bodies that are looked at, and of what follows; one span may be more
REACTIONS_WAIT_S: Final = 5  # after a failure
REACTION_LACK_S_MAX: Final = 60  # for what a span's node had named and did not reach us yet
