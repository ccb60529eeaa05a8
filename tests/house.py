"""The house rules that a program can check, each as a function from what it judges to its findings.

A finding says where, and what to do about it. `tests/test_house.py` applies the rules to this project and, so
that none of them is blind, to samples that break them.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import packages_distributions
from pathlib import Path
from sys import stdlib_module_names
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parent.parent

MODULE_LINES_MAX: Final = 400
FUNCTION_LINES_MAX: Final = 60
PACKAGE_MODULES_MAX: Final = 9

# Layer -> the layers that it may import. The tests of a layer may import anything.
ALL: Final = frozenset(
    "core identity timeline rules engine protocol federation api client cli service settings sim node".split()
)
LAYERS: Final[Mapping[str, frozenset[str]]] = {
    "core": frozenset(),
    "settings": frozenset({"core"}),
    "identity": frozenset({"core"}),
    "timeline": frozenset({"core", "identity"}),
    "rules": frozenset({"core"}),
    "engine": frozenset({"core", "identity", "timeline", "rules"}),
    "protocol": frozenset({"core", "identity"}),
    "federation": frozenset({"core", "identity", "protocol", "engine", "timeline"}),
    "api": frozenset({"core", "identity", "timeline", "rules", "engine", "federation"}),
    "service": frozenset({"core", "timeline", "settings"}),
    "client": frozenset({"core"}),
    "cli": frozenset({"core", "identity", "timeline", "rules", "client", "settings", "node", "sim"}),
    "sim": ALL - {"api", "cli"},
    "node": ALL - {"cli"},
}
# Where input and output may be: whole layers, and parts of any layer by name.
IO_LAYERS: Final = frozenset({"api", "cli", "client", "node", "sim"})
IO_PARTS: Final = frozenset({"store", "service", "transport", "discovery"})
# What pure code must not import: waiting, threads, files, networks, clocks and chance.
IMPURE_MODULES: Final = frozenset(
    "aiosqlite asyncio fcntl glob http.client http.server httpx hypercorn logging mmap multiprocessing nacl.utils os "
    "quart quart_trio random resource secrets select selectors shutil signal socket socketserver sqlite3 ssl "
    "structlog subprocess tempfile threading time trio urllib.request".split()
)
IMPURE_FUNCTIONS: Final = frozenset({"input", "open", "print"})
IMPURE_METHODS: Final = frozenset(
    "exists generate is_dir is_file iterdir mkdir now open read_bytes read_text rename stat today touch unlink "
    "utcnow uuid1 uuid4 write_bytes write_text".split()
)
BANNED_NAMES: Final = frozenset("base bases common data helper helpers manager managers misc util utils".split())
ERROR_TYPES: Final = frozenset({"CallerError", "LognodeError", "NodeFault", "PeerError"})


class Module(NamedTuple):
    """A module's dotted name, syntax and number of lines."""

    name: str
    tree: ast.Module
    lines: int

    @property
    def layer(self) -> str:
        """The part after `lognode`; `python -m lognode` is the command line."""
        return (self.name + ".").split(".")[1].replace("__main__", "cli")

    @property
    def is_pure(self) -> bool:
        return self.layer not in IO_LAYERS | {""} and not IO_PARTS.intersection(self.name.split("."))


def parse(name: str, text: str) -> Module:
    return Module(name, ast.parse(text), len(text.splitlines()))


def modules_below(folder: str) -> list[Module]:
    paths = sorted((ROOT / folder).rglob("*.py"))
    return [parse(".".join(path.relative_to(ROOT).with_suffix("").parts), path.read_text("utf-8")) for path in paths]


def calls(module: Module) -> Iterator[tuple[ast.Call, str, bool]]:
    """Every call with the last name of what is called, and whether that is an attribute."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node, node.func.attr, True
            elif isinstance(node.func, ast.Name):
                yield node, node.func.id, False


def imports(module: Module) -> Iterator[tuple[str, int]]:
    """Dotted names that a module imports anywhere in it, with their lines; importlib's ones count too."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)
    for call, name, _ in calls(module):
        if name in {"import_module", "__import__"}:
            target = call.args[0] if call.args else None
            yield (str(target.value) if isinstance(target, ast.Constant) else "?"), call.lineno


def is_below(name: str, parents: Iterable[str]) -> bool:
    return any(name == parent or name.startswith(parent + ".") for parent in parents)


def find_layer_breaks(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        if module.layer in {"", "__init__"}:
            continue
        if module.layer not in LAYERS:
            yield f"{module.name}: no such layer; move it, or enter the layer in LAYERS and in docs/ARCHITECTURE.md"
            continue
        allowed = LAYERS[module.layer]
        for target, line in imports(module):
            layer = (target + ".").split(".")[1]
            if target == "?":
                yield f"{module.name}:{line} imports by a computed name; write the name out"
            elif is_below(target, ["lognode"]) and layer not in allowed | {module.layer, "__version__"}:
                only = ", ".join(sorted(allowed)) or "nothing"
                yield f"{module.name}:{line} imports {target}; {module.layer} may import {only}: hand the value in"


def find_impurities(modules: Sequence[Module]) -> Iterator[str]:
    impure = [module.name.removesuffix(".__init__") for module in modules if not module.is_pure]
    advice = "; hand it in, or move this into a store, service, transport or discovery"
    for module in modules:
        if not module.is_pure:
            continue
        for target, line in imports(module):
            if is_below(target, IMPURE_MODULES) or is_below(target, [name for name in impure if name != "lognode"]):
                yield f"{module.name}:{line} is pure code and imports {target}{advice}"
        for call, name, is_method in calls(module):
            if name in (IMPURE_METHODS if is_method else IMPURE_FUNCTIONS):
                yield f"{module.name}:{call.lineno} is pure code and calls {name}(){advice}"


def find_large(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        if module.lines > MODULE_LINES_MAX:
            yield f"{module.name} has {module.lines} lines, at most {MODULE_LINES_MAX}; split it by idea"
        for node in ast.walk(module.tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    yield f"{module.name}:{node.lineno} {node.name} has {lines} lines, at most {FUNCTION_LINES_MAX}"


def find_crowded(modules: Sequence[Module]) -> Iterator[str]:
    """Packages with too many modules; a sub-package counts as one, lognode itself is the map and may grow."""
    members: dict[str, set[str]] = {}
    for module in modules:
        parts = module.name.removesuffix(".__init__").split(".")
        for depth in range(2, len(parts)):
            members.setdefault(".".join(parts[:depth]), set()).add(parts[depth])
    for package, names in members.items():
        if len(names) > PACKAGE_MODULES_MAX:
            yield f"{package} has {len(names)} modules, at most {PACKAGE_MODULES_MAX}; group some into a package"


def find_vague_names(modules: Sequence[Module]) -> Iterator[str]:
    for module in modules:
        for vague in BANNED_NAMES.intersection(module.name.split(".")):
            yield f"{module.name}: {vague!r} says nothing; name the module for the noun it owns"


def third_party_imports(modules: Sequence[Module]) -> Iterator[tuple[str, str]]:
    """Places of imports from outside, each with the distribution that it is from."""
    distributions = packages_distributions()
    # The benchmarks are started by their folder, so that they import one another by bare names.
    ours = {"lognode", "tests", "?"} | {module.name.rpartition(".")[2] for module in modules}
    for module in modules:
        for target, line in imports(module):
            top = target.split(".")[0]
            if top not in stdlib_module_names | ours:
                for name in distributions.get(top, [top]):
                    yield f"{module.name}:{line}", re.sub(r"[._]", "-", name.lower())


def find_undeclared(modules: Sequence[Module], declared: Iterable[str]) -> Iterator[str]:
    for place, name in third_party_imports(modules):
        if name not in set(declared):
            yield f"{place} imports from {name}; declare it in pyproject.toml with a range and a reason"


def find_unused(modules: Sequence[Module], declared: Iterable[str]) -> Iterator[str]:
    for name in sorted(set(declared) - {name for _, name in third_party_imports(modules)}):
        yield f"pyproject.toml: nothing imports {name}; delete it"


def find_loose_codes(modules: Sequence[Module], codes: Iterable[str]) -> Iterator[str]:
    """Raised codes that the table lacks, and codes of the table that no other module names."""
    known, named = set(codes), set[str]()
    for module in modules:
        if is_below(module.name, ["lognode.core.errors"]):
            continue
        constants = (node.value for node in ast.walk(module.tree) if isinstance(node, ast.Constant))
        named |= {value for value in constants if isinstance(value, str)}
        for call, name, _ in calls(module):
            first = call.args[0] if name in ERROR_TYPES and call.args else None
            if isinstance(first, ast.Constant) and first.value not in known:
                yield f"{module.name}:{call.lineno} raises {first.value!r}; enter it in core/errors/"
    for code in sorted(known - named):
        yield f"core/errors/: nothing raises {code!r}; delete it"


def find_open_routes(routes: Iterable[tuple[str, bool]], public: Iterable[str]) -> Iterator[str]:
    """Routes, given as path and whether they have an Action, that would answer anybody."""
    for path, has_action in routes:
        if not has_action and path not in public:
            yield f"{path} has no Action, so nothing asks allow(); register it with one of core/access.py"


def find_undocumented(what: str, names: Iterable[str], text: str, where: str) -> Iterator[str]:
    """Names that do not stand in `text` as whole words; a longer path or code does not speak for a shorter."""
    for name in names:
        if not re.search(rf"(?<![\w./{{-]){re.escape(name)}(?![\w{{]|[./-][\w{{<])", text):
            yield f"{what} {name} is not documented; describe it in {where}"
