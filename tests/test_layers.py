"""Who may import whom: read from the source with ast, so that a wrong import fails without being run."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "micromdm_py"
ROOT = PACKAGE.name

# Layer -> what it may import from the package besides itself. The longest fitting name is a module's layer.
INWARD = {
    "errors": (),
    "version": ("__version__",),
    "receivers": ("errors",),
    "config": ("errors", "receivers"),
    "config_rules": ("config", "errors", "receivers"),
    "lead": (),
    "logs": ("config",),
    "protocol": ("errors",),
    "storage": ("errors", "protocol"),
    "storage.base": ("errors", "protocol", "storage.records", "storage.transfer"),
    "storage.records": ("errors", "protocol"),
    "storage.targets": ("errors", "storage.records"),
    "storage.timeline": ("storage.records",),
    "storage.files": (),
    "storage.filerepo": ("errors", "storage.files"),
    "storage.overlay": ("errors",),
    "storage.transfer": ("errors", "protocol", "storage.records"),
    "storage.lmdb": (
        "errors",
        "logs",
        "protocol",
        "storage.base",
        "storage.files",
        "storage.overlay",
        "storage.records",
        "storage.targets",
        "storage.timeline",
        "storage.transfer",
    ),
    "storage.memory": (
        "errors",
        "protocol",
        "storage.base",
        "storage.overlay",
        "storage.records",
        "storage.targets",
        "storage.timeline",
        "storage.transfer",
    ),
    "service": (
        "errors",
        "logs",
        "protocol",
        "storage.base",
        "storage.files",
        "storage.records",
    ),
    "net": ("errors", "logs", "protocol", "receivers", "service", "storage.base", "storage.records"),
    "http": (
        "errors",
        "logs",
        "protocol",
        "service",
        "storage.base",
        "storage.files",
        "storage.records",
        "version",
    ),
    "simulator": ("errors", "protocol"),
    "migration": ("errors", "protocol", "service", "storage.base", "storage.records", "storage.transfer"),
    "server": ("compose", "config", "errors", "lead", "logs"),
    "cli": (
        "backup",
        "compose",
        "config",
        "config_rules",
        "errors",
        "logs",
        "migration",
        "protocol",
        "receivers",
        "server",
        "service",
        "simulator",
        "storage.transfer",
        "store_place",
        "version",
    ),
    "__main__": ("cli",),
    "__init__": (),
}
FREE = {
    "backup",
    "store_place",
    "compose",
    "compose_dep",
    "compose_parts",
    "courier",
    "wsgi",
}  # they put the parts together

OUTSIDE = {  # dependency -> the layers that may know it
    "certifi": {"net"},
    "click": {"cli"},
    "jinja2": {"http"},
    "cryptography": {
        "protocol",
        "migration",
        "service",
        "simulator",
        "storage.lmdb",
        "net",
        "http",
        "cli",
        "server",
    },
    "falcon": {"http"},
    "gunicorn": {"server"},
    "httpx": {"net", "simulator", "cli"},
    "lmdb": {"storage.lmdb"},
}


def modules() -> list[str]:
    return sorted(".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in PACKAGE.rglob("*.py"))


def layer_of(module: str) -> str:
    fitting = [layer for layer in (*INWARD, *FREE) if module == layer or module.startswith(layer + ".")]
    return max(fitting, key=len, default="")


def imports(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            if node.module in (ROOT, f"{ROOT}.storage"):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
            else:
                yield str(node.module)


def wrong_imports(module: str, source: str) -> list[str]:
    layer = layer_of(module)
    if layer in FREE:
        return []
    wrong = []
    for name in imports(source):
        top, _, inner = name.partition(".")
        if top == ROOT:
            allowed = (layer, *INWARD[layer])
            if not any(inner == other or inner.startswith(other + ".") for other in allowed):
                wrong.append(name)
        elif top not in sys.stdlib_module_names and layer not in OUTSIDE.get(top, ()):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("module", modules())
def test_module_imports_inward_only(module: str) -> None:
    assert layer_of(module), f"{module} belongs to no layer: give it a line here"
    assert wrong_imports(module, (PACKAGE / (module.replace(".", "/") + ".py")).read_text()) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("protocol.plist", "from micromdm_py.storage.base import CommandQueue"),
        ("protocol.plist", "from micromdm_py import logs"),
        ("service.connect", "from micromdm_py.storage.lmdb.store import Store"),
        ("service.connect", "from micromdm_py.storage import lmdb"),
        ("service.connect", "def f():\n    import lmdb"),
        ("http.device", "import micromdm_py.net.apns"),
        ("net.apns", "import falcon"),
        ("storage.memory", "import lmdb"),
        ("cli.serve", "from micromdm_py.http.app import make_app"),
    ],
)
def test_wrong_imports_are_found(module: str, line: str) -> None:
    assert len(wrong_imports(module, line)) == 1


@pytest.mark.parametrize("module", [m for m in modules() if not m.endswith(("__init__", "__main__"))])
def test_public_module_names_what_it_offers(module: str) -> None:
    tree = ast.parse((PACKAGE / (module.replace(".", "/") + ".py")).read_text())
    if module.rpartition(".")[2].startswith("_"):
        return
    assigned = [node for node in tree.body if isinstance(node, ast.Assign)]
    names = [t.id for node in assigned for t in node.targets if isinstance(t, ast.Name)]
    assert "__all__" in names
