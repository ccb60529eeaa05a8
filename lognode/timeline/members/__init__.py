"""Who may do what in a tenant: a pure function of its control spans.

The parts go from the spans to the answer: `history` orders them and finds what each knew, `standing` keeps who is
what, `ruling` judges them one by one by the rules of `admission`, `removal` and `identity`, `contest` decides between
those that know nothing of each other, `settlement` repeats that until nothing changes and says what came out.
"""

from lognode.timeline.members.contest import Poll
from lognode.timeline.members.cuts import Cut
from lognode.timeline.members.history import Control
from lognode.timeline.members.settlement import Invite, Member, Membership, membership

__all__ = ["Control", "Cut", "Invite", "Member", "Membership", "Poll", "membership"]
