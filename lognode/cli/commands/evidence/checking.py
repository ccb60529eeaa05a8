"""Commands that check: verify a whole history, write a proof of one span, check a proof offline."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from lognode.cli.options import HERE, File, Flag, Target
from lognode.cli.output import print_json, print_rows, print_text, progress, say, told_if_stopped
from lognode.core.errors import CallerError
from lognode.core.errors.federation.voids import VOID_REASONS
from lognode.core.ids import FEED_ID_BYTES, b32encode

if TYPE_CHECKING:
    from lognode.timeline.proof.policy import Policy
    from lognode.timeline.verify.finding import Finding

EXIT_DAMAGED: Final = 1


def prove(
    span_id: str,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    target: Target = HERE,
) -> None:
    """Write a proof of one span that anyone can check offline.

    Checking takes this file and the verifier key of the feed, which 'lognode id show --vkey --feed ID' prints, or a
    policy of 'lognode member policy'. The proof is in C2SP tlog-proof format, which checkers of others read too.

    It shows what was signed, which holds for a span without effect too. Whether it has one is said here, not by the
    proof: where a span is void, stderr tells why, and "void" with --json.

    Parameters
    ----------
    span_id
        Its id.
    output
        The file to write, by custom with the ending .tlog-proof; stdout by default.

    Examples
    --------
    $ lognode prove 06h0fd5j2g001mkxjf93ds4h1z0we1tqhq9nrg0 -o order.tlog-proof
    """
    with target.client() as client:
        found = client.proven(span_id)
    proof, reason = found["proof"].encode(), found["void"]
    if reason is not None and not target.json:
        title = VOID_REASONS[reason].title if reason in VOID_REASONS else "it has no effect"
        say(f"Note: this span is void [{reason}]: {title}. The proof shows what was signed all the same.")
    if output is not None:
        output.write_bytes(proof)
        if target.json:
            print_json({"id": span_id, "file": str(output), "bytes": len(proof), "void": reason})
        else:
            key = f"lognode id show --vkey --feed {_feed_of(proof)}"
            say(f"Wrote {output}; '{key}' prints the key that 'lognode check-proof' takes.")
    elif target.json:
        print_json({"id": span_id, "proof": proof.decode(), "void": reason})
    else:
        sys.stdout.buffer.write(proof)


def _feed_of(proof: bytes) -> str:
    from lognode.timeline.proof import tlogproof

    return b32encode(tlogproof.parse_proof(proof).entry[:FEED_ID_BYTES])


def check_proof(file: File, /, *, vkey: str | None = None, policy: File | None = None, json: Flag = False) -> None:
    """Check a proof without any node.

    Prints what the proof says: span, time, tenant, feed, index, size and root of the tree, entry; by a policy, also who
    cosigned the tree and when.

    Parameters
    ----------
    file
        The .tlog-proof file; - reads stdin.
    vkey
        Verifier key of the feed, from a source that you trust; FILE or @FILE reads a file.
    policy
        A file (FILE or @FILE) that says whose signatures count: feeds as logs, witnesses, and how many of these. With
        --vkey, the feed need not be in it.
    json
        Answer as JSON, errors too.

    Examples
    --------
    $ lognode check-proof order.tlog-proof --vkey @order.vkey
    $ lognode check-proof order.tlog-proof --policy members.policy

    Notes
    -----
    Exit code 0 when it holds, 1 when it does not, 2 for a key or policy that is none. It shows what was signed, not
    that it counts: a member's node knows whether the span is void ('lognode show').
    """
    from lognode.core.clock import hlc_ms, time_text
    from lognode.timeline.proof import tlogproof

    if vkey is None and policy is None:
        raise CallerError("usage.invalid", "name the key or the policy by which it is checked: --vkey or --policy")
    raw, key = read_file(file), None if vkey is None else read_vkey(vkey)
    cosigned: dict[str, int] = {}
    if policy is not None:
        proof, cosigned = tlogproof.check_policy(raw, _read_policy(policy), key)
    else:
        assert key is not None
        proof = tlogproof.check_proof(raw, key)
    fields = {
        "span": b32encode(proof.span_id),
        "at": time_text(hlc_ms(int.from_bytes(proof.span_id[:8], "big"))),
        "tenant": b32encode(proof.tenant),
        "feed": b32encode(proof.feed),
        "index": proof.index,
        "size": proof.size,
        "root": proof.root.hex(),
        "entry": proof.entry.hex(),
    }
    if json:
        shown = {} if policy is None else {"cosigned": {name: _time(at) for name, at in cosigned.items()}}
        print_json({"ok": True, **fields, **shown})
        return
    print_text("The proof holds.")
    print_rows(fields)
    if policy is not None:
        print_text(f"Cosigned by {len(cosigned)} of its witnesses, which is enough by the policy.")
        print_rows({name: _time(at) for name, at in cosigned.items()})


def _time(unix_s: int) -> str:
    from lognode.core.clock import time_text

    return time_text(unix_s * 1000)


def _read_policy(text: str) -> "Policy":
    """Raises CallerError policy.malformed or file.unreadable."""
    from lognode.timeline.proof.policy import parse_policy

    file = text[1:] if text.startswith("@") and not _is_file(text) else text
    try:
        return parse_policy(read_file(file))
    except CallerError as error:
        if error.code == "policy.malformed":
            error.place = f"{file}, {error.place}" if error.place else file
        raise


def read_vkey(text: str) -> str:
    """The verifier key that --vkey gives, or has in the file that it names, FILE or @FILE.

    Raises CallerError vkey.malformed or file.unreadable.
    """
    from lognode.timeline.proof.checkpoint import parse_vkey

    # A key has a + in it, and whoever has a file of that name may write @ before it.
    file = text[1:] if text.startswith("@") else text if "+" not in text and _is_file(text) else None
    key = (text if file is None else read_file(file).decode("utf-8", "replace")).strip()
    try:
        parse_vkey(key)
    except CallerError as error:
        raise CallerError(error.code, error.detail, place=file or "--vkey") from error
    return key


def _is_file(text: str) -> bool:
    try:
        return Path(text).is_file()
    except (OSError, ValueError):  # a name too long to be one
        return False


def verify(*, quick: Flag = False, target: Target = HERE) -> int:
    """Check the whole history from the bytes in the database.

    It asks no node, so a node cannot talk it round; one may be running. What is wrong is printed a finding a line:
    severity, code, table, row and column, detail.

    Parameters
    ----------
    quick
        Leave out the bodies and SQLite's own check of the file.

    Examples
    --------
    $ lognode verify
    $ lognode verify --data-dir /var/lib/lognode --json

    Notes
    -----
    Exit code 0 when nothing is damaged, 1 otherwise.
    """
    data_dir = target.directory()
    database = data_dir / "lognode.db"
    if not database.exists():
        raise CallerError("file.unreadable", f"{database}: no node keeps its history there")
    findings, spans = _audit(database, _node_public(data_dir), quick=quick)
    for finding in findings:
        print_finding(finding, as_json=target.json)
    if any(finding.severity == "damage" for finding in findings):
        return EXIT_DAMAGED
    if target.json:
        print_json({"ok": True, "spans": spans})
    else:
        checked = "Headers, proofs and signatures are" if quick else "Every span, proof and signature is"
        print_text(f"{checked} as written: {spans:,} spans.")
    return 0


def _audit(database: Path, node_public: bytes | None, *, quick: bool) -> tuple["Sequence[Finding]", int]:
    """What is wrong, and how many spans were looked at."""
    from lognode.timeline.store.audit import audit_file

    spans = 0
    with told_if_stopped("Stopped; the history is not verified."), progress("Verifying") as show:

        def count(done: int, total: int) -> None:
            nonlocal spans
            spans = done
            show(done, total)

        findings = audit_file(database, node_public=node_public, progress=count, quick=quick)
    return findings, spans


def print_finding(finding: "Finding", *, as_json: bool) -> None:
    """One finding on stdout."""
    tenant = b32encode(finding.tenant) if finding.tenant else None
    if as_json:
        print_json(
            {
                "severity": finding.severity,
                "code": finding.code,
                "tenant": tenant,
                "place": finding.place,
                "detail": finding.detail,
            }
        )
    else:
        print_text(f"{finding.severity} [{finding.code}] {finding.place}: {finding.detail}")


def _node_public(data_dir: Path) -> bytes | None:
    """The public key of the node whose data this is; None for a copy without its key."""
    from lognode.identity.store import read_public

    key_file = data_dir / "node.key"
    return read_public(key_file) if key_file.exists() else None


def read_file(file: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        raise CallerError("file.unreadable", f"{file}: {error.strerror}") from error
