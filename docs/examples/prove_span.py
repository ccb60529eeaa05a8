"""Fetches the proof of a span and checks it without the node, as an auditor would; then shows that it cannot be bent.

python docs/examples/prove_span.py            records a span and proves it
python docs/examples/prove_span.py SPAN_ID    proves a span that is there
"""

import sys

from lognode.client import CallerError, Draft, connect
from lognode.core.ids import b32encode
from lognode.timeline.proof.tlogproof import check_proof


def fetch(span_id: str | None) -> tuple[str, bytes, str]:
    """A span's id, its proof, and the key under which its feed's checkpoints verify."""
    with connect() as client:
        span_id = span_id or client.append(Draft(kind="contract.signed", title="A contract"))["id"]
        feed = client.span(span_id)["feed"]
        # In earnest the key comes from where you trust it: you noted it when you began to rely on this node.
        (vkey,) = [each["vkey"] for each in client.stats()["feeds"] if each["feed"] == feed]
        return span_id, client.proof(span_id), vkey


def main(wanted: str | None) -> None:
    span_id, proof, vkey = fetch(wanted)

    # From here on no node is asked.
    shown = check_proof(proof, vkey)
    if b32encode(shown.span_id) != span_id:
        sys.exit("This is the proof of another span.")
    print(f"{span_id} is entry {shown.index} of a feed whose {shown.size} entries its node has signed.")

    bent = proof.replace(b"index ", b"index 1", 1)
    try:
        check_proof(bent, vkey)
    except CallerError as error:
        print(f"At another place in the feed it does not hold: {error.detail}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
