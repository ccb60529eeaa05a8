"""Why it cannot be told what a decision had to be, or not yet, in words."""

from typing import Final

NOT_WHOLE: Final = "not all is held here that its node had named"
FORKED: Final = "its node had named more of a feed than the two histories of that have in common"
LOST: Final = "a rule set that its node may have gone by does not count any more"
NO_BODY: Final = "its body is not held here"
MALFORMED: Final = "its body is malformed"
UNTOLD: Final = "its node has not told yet what its reactions did"
HELD_LESS: Final = "another node reacted otherwise, and may have held less than the span's own node had named"
TWICE: Final = "a node told the same of it in two of its feeds: it ran twice, or goes on from a backup"
TOO_MANY_FOLLOW: Final = "too many spans name it as their cause"
UNSHOWN: Final = "it says that it restores a span of its node, which cannot be shown here"
