"""The command that writes down whose signatures count: member policy."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lognode.cli.options import HERE, Target
from lognode.cli.output import print_json, say


def member_policy(
    *,
    quorum: int | None = None,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    target: Target = HERE,
) -> None:
    """Write down whose signatures others need to check proofs.

    The policy names the feeds that this node holds, the members that write as witnesses, and how many of these have
    to have cosigned a checkpoint. Its form is C2SP tlog-policy, which checkers of others read too. Whoever uses it
    trusts this node for the keys.

    Parameters
    ----------
    quorum
        How many witnesses have to have cosigned; by default as many as with the author are most of the writers.
    output
        The file to write; stdout by default.

    Examples
    --------
    $ lognode member policy -o members.policy
    $ lognode member policy --quorum 2
    """
    with target.client() as client:
        policy = client.policy(quorum=quorum)
    if output is not None:
        output.write_bytes(policy)
        if target.json:
            print_json({"file": str(output), "bytes": len(policy)})
        else:
            say(f"Wrote {output}; 'lognode check-proof FILE --policy {output}' checks proofs by it.")
    elif target.json:
        print_json({"policy": policy.decode()})
    else:
        sys.stdout.buffer.write(policy)
