"""The house rules: imports run down the floors, files stay small, public names are documented."""

import ast
import inspect
from pathlib import Path

import jaxreg

ROOT = Path(jaxreg.__file__).parent
FLOORS = {
    "_tree": 0, "_select": 0, "_check": 0, "_result": 0, "_descent": 0, "_threads": 0, "_format": 0, "_cache": 0,
    "_fingerprint": 0, "_programs": 0, "datasets": 0,
    "losses": 1, "penalties": 1,
    "objective": 2, "transforms": 2, "structure": 2,
    "implicit": 3, "solvers": 3, "linear": 3, "plots": 3,
    "path": 4, "differentiable": 4, "training": 4, "tuning": 4,
    "selection": 5,
    "io": 6, "reference": 6, "sklearn": 6, "report": 7, "cli": 7, "__main__": 7,
}  # fmt: skip
MODULES = sorted(ROOT.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a module imports when it is imported; what a function imports later is its own business."""
    rooms = set()
    pending = list(ast.parse(path.read_text(encoding="utf-8")).body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jaxreg":
            inner = (node.module or "").split(".")[1:]
            rooms |= {inner[0]} if inner else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {a.name.split(".")[1] for a in node.names if a.name.startswith("jaxreg.")}
        pending.extend(ast.iter_child_nodes(node))
    return rooms & FLOORS.keys()


def test_every_room_has_a_floor():
    assert {room(path) for path in MODULES} - {"__init__"} == FLOORS.keys()


def test_imports_run_down_the_floors():
    upward = [
        f"{path.relative_to(ROOT)} (floor {FLOORS[room(path)]}) imports {name} (floor {FLOORS[name]})"
        for path in MODULES
        if room(path) != "__init__"
        for name in imported_rooms(path)
        if FLOORS[name] > FLOORS[room(path)]
    ]
    assert upward == []


def test_hard_dependencies_are_few():
    allowed = {"jax", "numpy", "optax", "jaxreg"}
    optional = {"io", "report", "cli", "sklearn", "__main__"}
    standard = __import__("sys").stdlib_module_names
    for path in MODULES:
        if room(path) in optional:
            continue
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in allowed | set(standard), f"{path.name} imports {name}"


def test_files_are_small():
    for path in MODULES:
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path


def test_public_names_are_documented():
    assert len(set(jaxreg.__all__)) == len(jaxreg.__all__)
    for name in jaxreg.__all__:
        thing = getattr(jaxreg, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            continue
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if inspect.isfunction(value) and not member.startswith("_"):
                    assert value.__doc__, f"{name}.{member}"
