"""The one table of errors, and the exceptions that carry its codes.

A code is part of the API: it never changes its meaning. Blame is in the type: CallerError (answer it),
PeerError (drop that record or peer and go on), NodeFault (this node cannot do its work).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["caller", "peer", "node"]


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """What one code means: HTTP status, whether the same request may succeed later, and a way out."""

    code: str
    kind: Kind
    status: int
    retryable: bool
    title: str
    hint: str


def _table(*rows: tuple[str, Kind, int, bool, str, str]) -> Mapping[str, ErrorSpec]:
    return {row[0]: ErrorSpec(*row) for row in rows}


ERRORS: Final = _table(
    # Requests.
    ("request.malformed", "caller", 400, False, "Malformed request", "Compare it with /v1/docs."),
    ("request.too_large", "caller", 413, False, "Request too large", "Send NDJSON, or smaller spans."),
    ("route.unknown", "caller", 404, False, "No such route", "See /v1/docs for the routes."),
    ("method.not_allowed", "caller", 405, False, "Method not allowed", "The Allow header names them."),
    (
        "media.unsupported",
        "caller",
        415,
        False,
        "Media type not supported",
        "Send application/json, application/x-ndjson or application/cbor.",
    ),
    (
        "host.forbidden",
        "caller",
        403,
        False,
        "Host not allowed",
        "Use 127.0.0.1 or localhost, or add the name to allowed_hosts.",
    ),
    (
        "origin.forbidden",
        "caller",
        403,
        False,
        "Origin not allowed",
        "Web pages may not call this node; call it from a program.",
    ),
    (
        "token.missing",
        "caller",
        401,
        False,
        "Token missing",
        "Name the token's file with --token-file or LOGNODE_TOKEN_FILE, or send 'Authorization: Bearer TOKEN'.",
    ),
    (
        "token.wrong",
        "caller",
        401,
        False,
        "Token not valid",
        "Read the token again from admin.token of the data directory.",
    ),
    ("role.insufficient", "caller", 403, False, "Not allowed", "Ask an owner of the tenant."),
    ("tenant.unknown", "caller", 404, False, "No such tenant", "Use 'default' or a tenant id of this node."),
    ("filter.invalid", "caller", 400, False, "Filter not valid", "See /v1/docs for the parameters."),
    (
        "cursor.invalid",
        "caller",
        400,
        False,
        "Cursor not valid",
        "Start without a cursor, and use the ones that answers give unchanged.",
    ),
    (
        "cursor.foreign",
        "caller",
        400,
        False,
        "Cursor of another node or tenant",
        "A cursor counts on the node and tenant that gave it; start without one here.",
    ),
    (
        "search.off",
        "caller",
        409,
        False,
        "Full text is off for this tenant",
        "Add the tenant to 'search' in lognode.toml, then have the node reload it (SIGHUP), or restart.",
    ),
    (
        "span.unknown",
        "caller",
        404,
        False,
        "No such span",
        "Check the id and the tenant; 'lognode log --json' shows ids.",
    ),
    ("feed.unknown", "caller", 404, False, "No such feed", "'lognode status' lists the feeds."),
    (
        "idempotency.invalid",
        "caller",
        400,
        False,
        "Idempotency key not valid",
        "Use 1 to 256 bytes of text; a new key for each new span.",
    ),
    (
        "idempotency.mismatch",
        "caller",
        409,
        False,
        "Idempotency key used for another span",
        "Use a new key for new content.",
    ),
    # Values.
    (
        "id.malformed",
        "caller",
        400,
        False,
        "Malformed id",
        "Ids are lower-case Crockford base32: no i, l, o or u, no upper case.",
    ),
    ("json.malformed", "caller", 400, False, "Malformed JSON", "Compare it with RFC 8259; text needs double quotes."),
    ("json.not_utf8", "caller", 400, False, "Not UTF-8", "Encode the JSON as UTF-8."),
    ("json.duplicate_key", "caller", 400, False, "Key appears twice", "Keep one of them; none is dropped silently."),
    (
        "json.number",
        "caller",
        400,
        False,
        "Number out of range",
        "Integers must fit 64 bits with sign, floats be finite; send others as text.",
    ),
    ("json.too_deep", "caller", 400, False, "Nested too deeply", "At most 16 levels; flatten the data."),
    ("cbor.malformed", "caller", 400, False, "Malformed CBOR", "See docs/protocol.md for the encoding."),
    ("draft.invalid", "caller", 422, False, "Draft not valid", "See /v1/docs for the fields of a draft."),
    (
        "draft.too_large",
        "caller",
        413,
        False,
        "Span too large",
        "A body is at most 1 MiB; store large content elsewhere and its hash here.",
    ),
    (
        "kind.invalid",
        "caller",
        422,
        False,
        "Kind not valid",
        "Use lower-case words joined by dots, such as order.paid, at most 64 bytes.",
    ),
    (
        "kind.reserved",
        "caller",
        422,
        False,
        "Kind is reserved",
        "Begin it with a word of your own; docs/protocol.md lists the reserved ones.",
    ),
    (
        "actor.unsigned",
        "caller",
        403,
        False,
        "Actor not signed",
        "Sign the draft with the actor's key, or use the admin token.",
    ),
    (
        "signature.wrong",
        "caller",
        422,
        False,
        "Signature does not match",
        "Sign the CBOR array exactly as docs/protocol.md gives it, with the tenant's id.",
    ),
    # Proofs and records.
    (
        "header.malformed",
        "caller",
        422,
        False,
        "Malformed header",
        "The record was damaged or made by a wrong encoder.",
    ),
    ("body.malformed", "caller", 422, False, "Malformed body", "The record was damaged or made by a wrong encoder."),
    ("checkpoint.invalid", "caller", 422, False, "Checkpoint not valid", "Get it again; check whose key you use."),
    (
        "vkey.malformed",
        "caller",
        400,
        False,
        "Malformed verifier key",
        "Use the line that 'lognode id show --vkey' prints.",
    ),
    ("proof.invalid", "caller", 422, False, "Proof not valid", "Do not trust the span; get the proof again."),
    ("binding.invalid", "caller", 422, False, "Key binding not valid", "The feed or tenant was not made by that node."),
    (
        "bundle.invalid",
        "caller",
        422,
        False,
        "Bundle not valid",
        "Do not trust anything in it; get the bundle again.",
    ),
    (
        "bundle.untrusted",
        "caller",
        422,
        False,
        "Bundle not signed by whom you trust",
        "Name whose signature counts: --node ID or --vkey KEY, from a source other than the bundle; or --any-node.",
    ),
    # Settings, keys, files.
    ("settings.unknown", "caller", 400, False, "Unknown setting", "'lognode config show' lists every setting."),
    (
        "settings.invalid",
        "caller",
        400,
        False,
        "Setting not valid",
        "'lognode config check' finds all mistakes at once.",
    ),
    ("key.missing", "caller", 404, False, "No node key", "Run 'lognode init' or 'lognode up' first."),
    ("key.exists", "caller", 409, False, "Node key exists", "Use another data directory; a key is never overwritten."),
    ("key.malformed", "caller", 422, False, "Node key file damaged", "Restore node.key from your backup."),
    (
        "key.passphrase",
        "caller",
        403,
        False,
        "Passphrase missing or wrong",
        "Put it in a file and name that in LOGNODE_KEY_PASSPHRASE_FILE.",
    ),
    ("key.permissions", "caller", 403, False, "Key file readable by others", "Run 'chmod 600' on it."),
    (
        "key.foreign",
        "node",
        409,
        False,
        "Key and database do not belong together",
        "Restore node.key and lognode.db from one backup, or use another data directory.",
    ),
    ("usage.invalid", "caller", 400, False, "Wrong usage", "Add --help to the command to see how."),
    ("system.failed", "node", 500, False, "The system refused", "See what it says of the file or device named."),
    ("file.unreadable", "caller", 400, False, "File not readable", "Check its path and permissions."),
    (
        "data_dir.unwritable",
        "node",
        500,
        False,
        "Data directory not writable",
        "Check owner, permissions and mount, or choose another with --data-dir.",
    ),
    (
        "data_dir.locked",
        "node",
        409,
        False,
        "Another daemon uses this data directory",
        "Stop it first, or choose another with --data-dir.",
    ),
    (
        "data_dir.taken",
        "node",
        409,
        False,
        "Data directory holds a node",
        "Name an empty or new directory with --data-dir; a node is never overwritten.",
    ),
    (
        "backup.exists",
        "caller",
        409,
        False,
        "Something is there already",
        "Name a directory that does not exist yet; a backup is never overwritten.",
    ),
    (
        "backup.damaged",
        "caller",
        422,
        False,
        "Backup damaged",
        "See 'lognode backup verify' for all that is wrong, and use another backup.",
    ),
    (
        "listen.taken",
        "node",
        409,
        False,
        "Address already in use",
        "Stop the other program, or choose a port with --listen 127.0.0.1:0.",
    ),
    ("listen.invalid", "caller", 400, False, "Address not usable", "Use a loopback address such as 127.0.0.1:7480."),
    ("database.newer", "node", 409, False, "Database made by a newer lognode", "Upgrade lognode; nothing was changed."),
    ("database.damaged", "node", 500, False, "Database damaged", "Run 'lognode verify', then restore from a backup."),
    # The node at work.
    ("writer.busy", "node", 503, True, "Node is busy", "Send again after Retry-After seconds."),
    (
        "writer.failed",
        "node",
        503,
        True,
        "Write failed",
        "Send again with the same idempotency key; 'lognode verify' if it stays.",
    ),
    ("disk.full", "node", 507, True, "Disk full", "Free some space; nothing acknowledged was lost."),
    (
        "mirror.unwritable",
        "node",
        500,
        True,
        "Mirror not writable",
        "Check owner, permissions and mount of mirror_dir; the mirror goes on by itself.",
    ),
    (
        "mirror.foreign",
        "node",
        409,
        False,
        "Mirror of another history",
        "Move the tenant's directory out of mirror_dir; a new one is written.",
    ),
    ("node.stopping", "node", 503, True, "Node is stopping", "Send again when it is back."),
    ("node.not_ready", "node", 503, True, "Node is not ready", "See the daemon's log."),
    ("node.internal", "node", 500, False, "Internal error", "This is a bug of lognode; the log has the details."),
    ("client.unreachable", "node", 503, True, "Node not running", "Start it with 'lognode up'."),
    ("client.protocol", "node", 502, False, "Unexpected answer", "Check that the URL is a lognode's, and see its log."),
)


class LognodeError(Exception):
    """An error with a code of the table, a detail for people, and where it was."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        place: str | None = None,
        retry_after_s: int | None = None,
        extra: Mapping[str, object] | None = None,
    ) -> None:
        assert code in ERRORS, f"error code {code!r} is not in the table"
        super().__init__(f"{ERRORS[code].title}: {detail}" if detail else ERRORS[code].title)
        self.code = code
        self.detail = detail
        self.place = place
        self.retry_after_s = retry_after_s
        self.extra: dict[str, object] = dict(extra or {})

    @property
    def spec(self) -> ErrorSpec:
        """The row of this error's code."""
        return ERRORS[self.code]

    def problem(self) -> dict[str, object]:
        """This error as an RFC 9457 problem: the members of the table, detail, place, and the extra ones."""
        spec = self.spec
        body: dict[str, object] = {
            **self.extra,
            "type": f"urn:lognode:error:{spec.code}",
            "title": spec.title,
            "status": spec.status,
            "detail": self.detail or spec.title,
            "code": spec.code,
            "hint": spec.hint,
            "retryable": spec.retryable,
        }
        if self.place is not None:
            body["place"] = self.place
        return body


class CallerError(LognodeError):
    """The caller's mistake: answer it, change nothing."""


class PeerError(LognodeError):
    """Another node's mistake: drop that record or that peer, and go on with the rest."""


class NodeFault(LognodeError):
    """This node cannot do its work."""
