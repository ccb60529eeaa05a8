"""Commands about named subscriptions: subscription create, list, show, delete, read, parked, replay."""

from itertools import islice
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter, validators

from lognode.cli.options import ALL, HERE, Flag, Target, Which
from lognode.cli.output import flush, print_json, print_rows, print_table, print_text, say
from lognode.core.errors import CallerError

if TYPE_CHECKING:
    from lognode.client.answers.subscriptions import Subscription

LIMIT = 50
NOW = "now"
Count = Annotated[int, Parameter(validator=validators.Number(gte=1))]
Start = Annotated[str, Parameter(name="--from")]


def subscription_create(
    name: str,
    /,
    *,
    start: Start = NOW,
    webhook: str | None = None,
    ack_wait: Count | None = None,
    max_in_flight: Count | None = None,
    max_attempts: Count | None = None,
    which: Which = ALL,
    target: Target = HERE,
) -> None:
    """Make a named subscription to the spans that match.

    It keeps its place until it is deleted: whatever matches is handed out until it is acknowledged or parked, also what
    arrives late from other nodes. Any number of consumers share it.

    Parameters
    ----------
    name
        Small letters, digits and hyphens, 64 at most.
    start
        Where it begins: beginning, now, the id of the first span, behind a cursor of arrival order, or a time.
    webhook
        Have this webhook of the settings called with each span, instead of consumers that connect.
    ack_wait
        So many seconds a consumer has for a span before it is handed out again (30).
    max_in_flight
        No more than so many spans are handed out and not settled (256).
    max_attempts
        After so many a span is parked (5).

    Examples
    --------
    $ lognode subscription create orders --kind 'order.*' --from beginning
    $ lognode subscription create ledger --tag money --webhook ledger
    """
    wait_ms = None if ack_wait is None else 1000 * ack_wait
    with target.client() as client:
        made = client.create_subscription(
            name,
            which.filter(),
            start=start,
            webhook=webhook,
            ack_wait_ms=wait_ms,
            max_in_flight=max_in_flight,
            max_attempts=max_attempts,
        )
    if target.json:
        print_json(made)
    elif webhook is None:
        print_text(f"Made the subscription {name}.")
        say(f"'lognode subscription read {name}' prints its spans, and acknowledges them.")
    else:
        print_text(f"Made the subscription {name}, which calls {webhook}.")


def subscription_list(*, target: Target = HERE) -> None:
    """List the named subscriptions of the tenant, and how far each is.

    Examples
    --------
    $ lognode subscription list
    """
    with target.client() as client:
        found = client.subscriptions()
    if target.json:
        print_json({"subscriptions": found})
        return
    if not found:
        print_text("No subscription.")
        return
    columns = ("name", "to", "behind", "under way", "waiting", "parked", "filter")
    rows = [
        (
            each["name"], _whom(each), f"{each['behind']}", f"{each['in_flight']}", f"{each['waiting']}",
            f"{each['parked']}", _filter(each),
        )
        for each in found
    ]  # fmt: skip
    print_table(columns, rows)
    if any(each["parked"] for each in found):
        say("'lognode subscription parked NAME' says what was parked and why.")


def subscription_show(name: str, /, *, target: Target = HERE) -> None:
    """Show a named subscription: what it is for, and how far it is.

    Parameters
    ----------
    name
        The subscription's name.

    Examples
    --------
    $ lognode subscription show orders
    """
    with target.client() as client:
        found = client.subscription(name)
    if target.json:
        print_json(found)
        return
    print_rows(
        {
            "Subscription": found["name"],
            "Filter": _filter(found) or "all spans",
            "To": _whom(found),
            "Behind": f"{found['behind']} spans, matching or not",
            "Under way": f"{found['in_flight']}",
            "Waiting": f"{found['waiting']} to be tried again",
            "Parked": f"{found['parked']}",
            "Time for each": f"{found['ack_wait_ms'] / 1000:g} s",
            "Bounds": f"{found['max_in_flight']} at once, {found['max_attempts']} attempts",
            "Made": found["created_at"],
        }
    )


def subscription_delete(name: str, /, *, target: Target = HERE) -> None:
    """Delete a named subscription and the list of what it parked.

    Whoever consumes it is told; spans stay as they are.

    Parameters
    ----------
    name
        The subscription's name.

    Examples
    --------
    $ lognode subscription delete orders
    """
    with target.client() as client:
        found = client.delete_subscription(name)
    if target.json:
        print_json(found)
    else:
        print_text(f"Deleted the subscription {found['name']}.")


def subscription_read(
    name: str, /, *, limit: Count | None = None, no_follow: Flag = False, target: Target = HERE
) -> None:
    """Print the spans of a named subscription, and acknowledge each.

    They come as they are due, one JSON object a line. A span is acknowledged once it was written to the output; what
    was not comes again. Several that read at once share the spans.

    Parameters
    ----------
    name
        The subscription's name.
    limit
        End after so many.
    no_follow
        End once nothing is due.

    Examples
    --------
    $ lognode subscription read orders | jq --unbuffered .title
    $ lognode subscription read orders --limit 10

    Notes
    -----
    Ctrl-C ends it with exit code 130, a node that stays away with 3.
    """
    with (
        target.client() as client,
        client.consume(name, in_flight=None if limit is None else min(limit, 64), limit=limit, follow=not no_follow)
        as consumer,
    ):  # fmt: skip
        for offer in consumer:
            print_json(offer["span"])
            flush()
            consumer.acknowledge(offer)


def subscription_parked(name: str, /, *, limit: Count = LIMIT, target: Target = HERE) -> None:
    """List what a named subscription parked, and why.

    Parameters
    ----------
    name
        The subscription's name.
    limit
        How many at most.

    Examples
    --------
    $ lognode subscription parked orders
    """
    with target.client() as client:
        found = list(islice(client.parked(name), limit + 1))
    shown = found[:limit]
    if target.json:
        print_json({"parked": shown})
        return
    if not shown:
        print_text("Nothing is parked.")
        return
    rows = [
        (each["span"] or "", f"{each['attempts']}", each["parked_at"], "yes" if each["replay"] else "", each["reason"])
        for each in shown
    ]
    print_table(("span", "attempts", "parked", "again", "reason"), rows)
    if len(found) > limit:
        say(f"There are more; --limit {limit * 10} shows them.")
    say(f"'lognode subscription replay {name}' has them tried again.")


def subscription_replay(
    name: str, spans: tuple[str, ...] = (), /, *, start: Annotated[str | None, Parameter(name="--from")] = None,
    target: Target = HERE,
) -> None:  # fmt: skip
    """Have parked spans tried again, or everything from a place on.

    Without ids all that is parked is tried again, as often as new spans. With --from it begins at that place anew,
    whatever was acknowledged; what is parked behind that place is not parked any more.

    Parameters
    ----------
    name
        The subscription's name.
    spans
        Ids of parked spans.
    start
        Begin anew here: beginning, now, the id of the first span, behind a cursor of arrival order, or at a time.

    Examples
    --------
    $ lognode subscription replay orders
    $ lognode subscription replay orders --from 2026-01-31T12:00:00Z
    """
    if start is not None and spans:
        raise CallerError("usage.invalid", "name parked spans, or a place to begin at, not both", place="--from")
    with target.client() as client:
        if start is not None:
            found = client.reset_subscription(name, start)
            if target.json:
                print_json(found)
            else:
                print_text(f"The subscription {name} begins there; it is {found['behind']} spans behind.")
            return
        count = client.replay_parked(name, spans or None)
    if target.json:
        print_json({"replayed": count})
    else:
        print_text(f"{count} parked {'span is' if count == 1 else 'spans are'} tried again.")


def _whom(found: "Subscription") -> str:
    if found["webhook"] is not None:
        return f"webhook {found['webhook']}"
    return f"{found['consumers']} connected"


def _filter(found: "Subscription") -> str:
    return ", ".join(f"{name} {value}" for name, values in found["filter"].items() for value in values)
