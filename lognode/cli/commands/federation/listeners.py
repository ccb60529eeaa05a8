"""What a command says of the listeners that it needs: that one is not up, why, and what to do instead."""

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from lognode.cli.output import say

if TYPE_CHECKING:
    from lognode.client import Client

UP_S_MAX: Final = 3.0  # until listeners are up, or say why not
LOOK_S: Final = 0.1
NAMES: Final = {
    "peer": ("Members cannot reach this node", "for members"),
    "join": ("A joiner cannot reach this node", "for joiners"),
}


def say_listeners(client: "Client", wanted: Collection[str]) -> None:
    """Say which of the listeners `peer` and `join` are not up, once each is or tells why not."""
    deadline = time.monotonic() + UP_S_MAX
    while True:
        listeners = [each for each in client.peers()["listeners"] if each["name"] in wanted]
        if all(each["bound"] or each["error"] for each in listeners) or time.monotonic() > deadline:
            break
        time.sleep(LOOK_S)
    for each in listeners:
        consequence, whom = NAMES[each["name"]]
        if (error := each["error"]) is not None:
            said = ": ".join(part for part in (error["title"], error["detail"]) if part)
            say(f"{consequence}: {said} [{error['code']}]")
            say(f"hint: {error['hint']}")
        elif not each["bound"]:
            say(f"{consequence}: nothing listens {whom} yet; 'lognode status' shows why.")
