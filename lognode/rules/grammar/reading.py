"""From an author's text to a RuleSet, or to all mistakes at once: the one door to rule sets.

Invariant: bytes alone decide; what is read here once is read alike by every node, and no text makes it crash. The
largest text takes about a second, so whoever must not wait calls it from a thread.
Source: docs/rules.md.
"""

from hashlib import sha256

from lognode.core.limits import RULE_SET_BYTES_MAX
from lognode.rules.document import RuleSet
from lognode.rules.grammar.faults import Faults, Place
from lognode.rules.grammar.sense.order import check_chains, check_order
from lognode.rules.grammar.sense.reach import check_reach
from lognode.rules.grammar.shapes.rules import read_set
from lognode.rules.grammar.source.json import read_json
from lognode.rules.grammar.source.yaml import read_yaml


def read_rule_set(text: bytes, *, is_json: bool) -> RuleSet:
    """The rule set that a text is, for whoever publishes it. Raises RuleSetFaults with all that is wrong."""
    return _read(text, is_json=is_json, is_new=True)


def read_published_set(text: bytes, *, is_json: bool) -> RuleSet:
    """The rule set that a text is which was published. Raises RuleSetFaults where it is none.

    It is not judged again whether its rules have an effect: a later version may see more of that, and nodes of two
    versions must not disagree on what is in force.
    """
    return _read(text, is_json=is_json, is_new=False)


def _read(text: bytes, *, is_json: bool, is_new: bool) -> RuleSet:
    faults = Faults()
    if len(text) > RULE_SET_BYTES_MAX:
        message = f"{len(text)} bytes, at most {RULE_SET_BYTES_MAX}"
        faults.add("rule.too_large", Place(1, 1), message, "split it into several sets")
        faults.judge()
    try:
        source = text.decode("utf-8-sig")  # some editors of Windows write a mark first
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        column = len(text[text.rfind(b"\n", 0, error.start) + 1 : error.start].decode("utf-8", "replace")) + 1
        faults.add("rule.malformed", Place(line, column), "this is no UTF-8", "save the file as UTF-8")
        faults.judge()
        raise
    root = (read_json if is_json else read_yaml)(source, faults)
    if root is None:
        faults.judge()
    assert root is not None
    draft = read_set(root, faults)
    check_order(draft.rules, faults)
    if is_new:
        check_chains(draft.rules, faults)
        check_reach(draft.rules, faults)
    faults.judge()
    rules = tuple(found.rule for found in draft.rules if found.rule is not None)
    return RuleSet(draft.name, rules, draft.variables, text, sha256(text).digest(), draft.description)
