# Made from lognode/client/aio/federation.py by scripts/sync-client: change that file, then run the script.
"""What a node does about other nodes, as methods of the client: invites, members, joining, sync.

No change is sent twice: one that was made and whose answer was lost would be made again.
"""

from typing import Any, cast
from urllib.parse import quote

import msgspec

from lognode.client.answers import parse_answer
from lognode.client.answers.federation import Approved, Changed, Invite, Issued, Joined, Member, Revoked, Sync, Waiting
from lognode.client.answers.peers import Peers
from lognode.client.sync.session import Session

DAY_S = 24 * 60 * 60


class Federation:
    """The part of a client that is about other nodes."""

    _session: Session
    _base: str

    def create_invite(
        self, *, level: str = "trusted", uses: int = 1, expires_s: int = DAY_S, approve: bool = False
    ) -> Issued:
        """A new invite, by which `uses` nodes may join as observer, trusted or root; with `approve`, each is asked for.

        Its text is a secret, and stands in this answer alone. Raises CallerError("member.not_root") where the node is
        no root member of the tenant.
        """
        terms = {"level": level, "uses": uses, "expires_s": expires_s, "approve": approve}
        return cast("Issued", self._change("POST", f"{self._base}/invites", terms))

    def invites(self) -> list[Invite]:
        """The tenant's invites, without their secrets, the one that expires last first."""
        answer = parse_answer(self._session.request("GET", f"{self._base}/invites"))
        return cast("list[Invite]", answer["invites"])

    def revoke_invite(self, invite_id: str) -> Revoked:
        """Let nobody join by an invite any more. Raises CallerError("invite.unknown")."""
        return cast("Revoked", self._change("DELETE", f"{self._base}/invites/{quote(invite_id, safe='')}"))

    def members(self) -> list[Member]:
        """The tenant's members as the node knows them, removed ones last."""
        answer = parse_answer(self._session.request("GET", f"{self._base}/members"))
        return cast("list[Member]", answer["members"])

    def change_level(self, node: str, level: str) -> Changed:
        """Give a member another level: blocked, observer, trusted or root. Raises CallerError("member.unknown")."""
        return cast("Changed", self._change("PATCH", self._member_path(node), {"level": level}))

    def remove_member(self, node: str, *, reason: str = "") -> Changed:
        """Remove a member. Raises CallerError("member.unknown")."""
        return cast("Changed", self._change("DELETE", self._member_path(node), {"reason": reason}))

    def pending_members(self) -> list[Waiting]:
        """The nodes that wait at the node for approval, the oldest first."""
        answer = parse_answer(self._session.request("GET", f"{self._base}/members/pending"))
        return cast("list[Waiting]", answer["pending"])

    def approve_member(self, node: str) -> Approved:
        """Admit a node that waits for approval. Raises CallerError("member.not_waiting")."""
        return cast("Approved", self._change("POST", f"{self._base}/members/pending/{_key(node)}"))

    def join(self, invite: str) -> Joined:
        """Have the node join a tenant by the text of an invite; again for one that waits for approval.

        Raises CallerError invite.* for what is wrong with it, NodeFault("invite.unanswered") where no root member of
        the tenant answers.
        """
        return cast("Joined", self._change("POST", "/v1/node/join", {"invite": invite}))

    def sync_status(self, peer: str | None = None) -> Sync:
        """How far other nodes hold the same: all of them, or the one with this LogLine ID or beginning of a key.

        Raises CallerError("peer.unknown").
        """
        return cast("Sync", self._sync("GET", peer))

    def start_sync(self, peer: str | None = None) -> Sync:
        """Have the node and others compared now; how they were doing before.

        It does not wait: a comparison has ended when `rounds` of the peer is higher than in this answer. Raises
        CallerError("peer.unknown").
        """
        return cast("Sync", self._sync("POST", peer))

    def _sync(self, method: str, peer: str | None) -> dict[str, Any]:
        params = [] if peer is None else [("peer", peer)]
        return parse_answer(self._session.request(method, f"{self._base}/sync", params=params))

    def peers(self) -> Peers:
        """Where the other members are and how the node reaches them, and why it may find nobody on its network."""
        return cast("Peers", parse_answer(self._session.request("GET", f"{self._base}/peers")))

    def _member_path(self, node: str) -> str:
        return f"{self._base}/members/{_key(node)}"

    def _change(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        content = b"" if body is None else msgspec.json.encode(body)
        headers = [] if body is None else [("Content-Type", "application/json")]
        return parse_answer(self._session.request(method, path, content=content, headers=headers, patient=False))


def _key(node: str) -> str:
    """The key of a LogLine ID, or of what is one already, as part of a path."""
    return quote(node.removeprefix("logline-id://node/"), safe="")
