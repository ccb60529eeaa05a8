"""What `member list` and `member remove` say of votes that wait for others."""

from pathlib import Path
from typing import Final

import msgspec

from tests.cli.lognode_command import Lognode
from tests.client.node_stub import Answer, stub_node

FOUNDER, ONE, TWO = (f"logline-id://node/{key:0<52}" for key in ("f0", "01", "02"))
VOTES: Final = {"voted": [ONE], "entitled": [ONE, TWO, FOUNDER], "needed": 2}
MEMBER: Final = {
    "node": FOUNDER, "level": "root", "self": False, "removed": False, "admission": "0", "admitted_by": None,
    "words": None, "removal_votes": VOTES,
}  # fmt: skip
CHANGED: Final = {"node": FOUNDER, "level": "root", "removed": False, "effective": False, "removal_votes": VOTES}
SAID: Final = "1 of 2 votes (by 010000000000); 1 more by 020000000000"


def answer(body: object) -> Answer:
    return Answer(body=msgspec.json.encode(body))


def test_open_votes_stand_below_the_members_and_in_the_answer_to_a_vote(tmp_path: Path) -> None:
    lognode = Lognode(tmp_path)
    with stub_node(answer({"members": [MEMBER]})) as node:
        (tmp_path / "token").write_text("t" * 43)
        target = ("--url", node.url, "--token-file", str(tmp_path / "token"))
        assert f"To remove f00000000000: {SAID}" in lognode.text("member", "list", *target)
    receipt = {"id": "0" * 39}
    for given, said in ((receipt, b"Recorded as a vote"), (None, b"It was voted on by this node before")):
        answers = answer({"members": [MEMBER]}), answer({**CHANGED, "receipt": given})
        with stub_node(*answers) as node:
            done = lognode.run("member", "remove", "f0", "--url", node.url, "--token-file", str(tmp_path / "token"))
        assert f"Votes   {SAID}" in done.stdout.decode()
        assert said in done.stderr
