"""GET .../policy: whose signatures make a checkpoint of this tenant valid, as a file that checkers take."""

from typing import Final

from quart import Response, request
from quart_trio.wrappers import TrioResponse

from lognode.api.app import ApiApp, Caller, Docs, Parameter, current
from lognode.core.access import Action, Level
from lognode.core.errors import CallerError
from lognode.core.ids import b32encode
from lognode.timeline.members import Member
from lognode.timeline.proof.checkpoint import origin, vkey
from lognode.timeline.proof.cosignature import witness_name, witness_vkey
from lognode.timeline.proof.policy import policy_text
from lognode.timeline.store.read.proofs import Voices

TEXT_MEDIA: Final = "text/plain; charset=utf-8"
QUORUM: Final = Parameter(
    "quorum", "How many witnesses have to have cosigned; by default as many as with the author are most writers", int
)


def register(app: ApiApp) -> None:
    """Add the route."""
    docs = Docs(query=(QUORUM,), answers={200: {TEXT_MEDIA: {"type": "string"}}})
    app.register_route("/v1/tenants/<tenant>/policy", show_policy, action=Action.PROOF_READ, docs=docs)


async def show_policy() -> Response:
    """Show a C2SP tlog-policy of the tenant: its feeds as logs, its writing members as witnesses, and a quorum.

    It is as good as this node's word: whoever checks by it trusts what this node says of keys.
    """
    caller = current()
    tenant_id = caller.tenant.tenant_id
    writers = sorted(_members(caller, Level.TRUSTED), key=lambda member: member.node_key)
    authors = {member.node_key for member in _members(caller, Level.BLOCKED)}
    feeds = [feed for feed in caller.services.store.feeds.values() if feed.tenant == caller.tenant.number]
    logs = [vkey(origin(tenant_id, feed.feed_id), feed.log_key) for feed in sorted(feeds) if feed.node_key in authors]
    witnesses = {
        b32encode(member.node_key): witness_vkey(witness_name(tenant_id, member.node_key), member.witness_key)
        for member in writers
    }
    return TrioResponse(policy_text(logs, witnesses, _least(len(witnesses))), content_type=TEXT_MEDIA)


def _least(writers: int) -> int:
    """How many cosignatures a checkpoint needs. Raises CallerError("filter.invalid")."""
    text = request.args.get("quorum")
    if text is None:
        return writers // 2  # with the author, whose own log signs, more than half of all
    least = int(text) if text.isascii() and text.isdigit() and len(text) < 6 else -1
    if not 0 <= least <= writers:
        detail = f"{text!r:.40} is no number from 0 to {writers}, which is how many may witness"
        hint = "Ask for no more than there are: 'lognode member list' shows them, trusted members and roots."
        raise CallerError("filter.invalid", detail, place="quorum", hint=hint)
    return least


def voices_of(caller: Caller) -> Voices:
    """Whose cosignatures count in a caller's tenant: those of all that ever were members."""
    members = _members(caller, Level.BLOCKED)
    witnesses = {member.node_key: member.witness_key for member in members}
    return Voices(caller.tenant.tenant_id, witnesses, caller.services.writer.seals.tree)


def _members(caller: Caller, least: Level) -> list[Member]:
    """The members of at least this level; BLOCKED means also those that were one."""
    members = caller.services.desk.ground.membership(caller.tenant).members.values()
    return [member for member in members if member.level >= least]
