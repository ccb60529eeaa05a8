"""Rule sets for tests: documents as Hypothesis makes them, and one that uses everything."""

from typing import Any, Final

from hypothesis import strategies as st

FULL: Final[dict[str, Any]] = {
    "rules": "everything",
    "description": "One of each",
    "variables": {"limit": 20, "name": "x", "share": 0.5, "on": True, "none": None},
    "do": [
        {
            "id": "gate",
            "description": "A gate with each condition",
            "on": "draft",
            "kinds": ["login.failed", "login.attempt.*"],
            "priority": 10,
            "windows": {
                "failures": {"over": "5m", "by": "data.client", "at": "data.occurred_at", "kinds": "login.failed"},
                "amount": {"over": "1h30m", "by": "subject", "sum": "data.amount"},
                "users": {"over": "7d", "by": 'data["a b"]', "at": "commit", "distinct": "data.user"},
            },
            "last": {"account": {"subject": "data.account", "kinds": ["account.changed"]}},
            "if": {
                "all": [
                    {"any": [{"always": True}, {"contains_tag": ["a", "b"]}]},
                    {"not": {"missing": ["title", "data.list[0]"]}},
                    {"equals": {"data.state": "open", "data.count": 3, "data.map": {"a": [1, "{kind}"]}}},
                    {"not_equals": {"last.account.data.state": "closed", "status": "simulated"}},
                    {"exists": "data.user"},
                    {"contains_text": {"title": "fail {vars.name} {{x}}"}},
                    {"greater_than": {"windows.failures": "{vars.limit}"}},
                    {"less_than": {"approvals": 1}},
                    {"when": 'data.x == 1 && windows.users > 3 && last.account.data.name != "é"'},
                ]
            },
            "then": [
                {"require_approval": {"role": "root", "of": 2, "within": "24h", "text": "{title} of {actor}"}},
                {"add_tag": ["seen", "from-{data.client}"]},
                {"set_metadata": {"count": "{windows.failures}", "why": "x"}},
                {"mark_processed": True},
                {"note": "x"},
            ],
        },
        {"id": "allow", "on": "draft", "depends_on": ["gate"], "kinds": "login.failed", "then": [{"allow": "fine"}]},
        {"id": "simulate", "on": "draft", "kinds": ["trial.*"], "then": [{"simulate": "a trial"}]},
        {"id": "reject", "on": "draft", "kinds": ["bad"], "when": "has(data.x)", "then": [{"reject": "no"}]},
        {
            "id": "react",
            "on": "commit",
            "run": "each",
            "kinds": ["login.failed", "rule.fired"],
            "then": [
                {
                    "emit": {
                        "kind": "alert.raised", "title": "{kind}", "data": "{data}", "tags": ["x"],
                        "subject": "{subject}",
                        "contract_id": "c", "workflow_id": "w", "flow_id": "f", "metadata": {"a": None},
                        "visibility": "private",
                    }
                },
                {"schedule": {"name": "a-{subject}", "after": "10m", "missed": "skip", "emit": {"kind": "later"}}},
                {"schedule": {"name": "b", "at": "data.due", "notify": {"to": "journal", "text": "due"}}},
                {"schedule": {"name": "c", "cron": "0 3 * * 1-5", "notify": {"to": "webhook ops", "text": "x"}}},
                {"notify": {"to": "webhook ops", "text": "{title}", "data": {"client": "{data.client}"}}},
            ],
        },
    ],
}  # fmt: skip

_names = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)
_words = st.sampled_from("a kind_of b1 order failed x".split())
_kinds = st.lists(_words, min_size=1, max_size=3).map(".".join)
_durations = st.sampled_from(["1s", "5m", "1h30m", "7d", "90s", "2w1d"])
# Braces would be references; YAML has no word for some characters, its readers differ on others, and JSON has none
# for half ones.
_texts = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="{}\x85\u2028\u2029"), min_size=1, max_size=20
)
_keys = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=8)
_scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
_values = st.recursive(
    _scalars | _texts | st.just("{title}") | st.just("a {kind} {{b}}"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=6,
)
_texts_at = st.sampled_from(["data.a", 'data["a b"].c', "data.list[3]", "title", "subject", "metadata.x", "actor"])
_paths = _texts_at | st.just("tags[0]")
_numbers = st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | st.just("{data.limit}")
_expressions = st.sampled_from(["has(data.a)", 'kind == "x"', "size(tags) > 1", 'data.a == "é" && true', "hops < 3"])


def _one(name: str, value: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return value.map(lambda said: {name: said})


_leaves = (
    st.just({"always": True})
    | _one("equals", st.dictionaries(_paths, _values, min_size=1, max_size=2))
    | _one("exists", _paths | st.lists(_paths, min_size=1, max_size=3, unique=True))
    | _one(
        "contains_text",
        st.dictionaries(_texts_at, _texts, min_size=1, max_size=2),
    )
    | _one("contains_tag", _texts)
    | _one("greater_than", st.dictionaries(st.sampled_from(["data.a", "hops"]), _numbers, min_size=1))
    | _one("when", _expressions)
)
# `any` beside something sure, so that no condition is one that never holds.
_conditions = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"any": [*parts, {"exists": "data.sure"}]}),
    max_leaves=5,
)
_annotations = (
    _one("add_tag", _texts | st.lists(_texts, min_size=1, max_size=3, unique=True))
    | _one("set_metadata", st.dictionaries(_keys, _values, min_size=1, max_size=3))
    | st.just({"mark_processed": True})
    | _one("note", _texts)
)
_windows = st.fixed_dictionaries({"over": _durations, "by": st.just("data.a")}, optional={"at": st.just("data.at")})


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents in which nothing is wrong."""
    rules = []
    for rule_id in draw(st.lists(_names, min_size=1, max_size=4, unique=True)):
        rule: dict[str, Any] = {"id": rule_id, "on": draw(st.sampled_from(["draft", "commit"]))}
        optional = {
            "description": _texts, "kinds": st.lists(_kinds, min_size=1, max_size=3, unique=True),
            "priority": st.integers(0, 1000), "windows": st.dictionaries(_words, _windows, min_size=1, max_size=2),
        }  # fmt: skip
        rule |= draw(st.fixed_dictionaries({}, optional=optional))
        condition = {"if": {"any": [draw(_conditions), {"exists": "data.sure"}]}}
        rule |= draw(st.sampled_from([{}, condition, {"when": "has(data.sure)"}]))
        rules.append({**rule, "then": draw(st.lists(_annotations, min_size=1, max_size=3))})
    whole: dict[str, Any] = {"rules": draw(_names), "do": rules}
    if draw(st.booleans()):
        whole["variables"] = draw(st.dictionaries(_words, _scalars | _texts, max_size=3))
    return whole
