"""The house keeps its walls: who may import whom (read with `ast`, nothing is run)."""

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PACKAGE = Path(__file__).parent.parent / "dicomd"

# package -> the packages of ours that it may import besides itself
OURS = {
    "model": set(),
    "wire": {"model"},
    "pixels": {"model", "wire"},
    "store": {"model", "wire"},
    "workers": {"model"},
    "transports": set(),
    "services": {"model", "pixels", "store", "workers"},
    "web": {"model", "wire", "services", "transports"},
    "dimse": {"model", "wire", "services", "transports"},
    "mllp": {"model", "wire", "services"},
    "config": {"model"},
    "logs": set(),
}
# third-party package -> the packages of ours that may import it
THEIRS = {
    "twisted": {"workers", "transports", "web", "dimse", "mllp", "logs", "tap"},
    "klein": {"web"},
    "werkzeug": {"web", "wire"},
    "pynetdicom": {"wire", "dimse"},
    "sqlalchemy": {"store"},
    "sqlite3": {"store"},
    "lxml": {"wire"},
    "hl7": {"wire"},
    "PIL": {"pixels"},
    "imagecodecs": {"pixels"},
    "gdcm": {"pixels"},
    "reportlab": {"pixels"},
    "numpy": {"pixels"},
    "blake3": {"store"},
    "threading": {"workers", "store"},
}
JOINERS = {"tap", "__main__"}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """('ours' or 'theirs', package) for each import in the file, at any depth."""
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield _absolute(name.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield _absolute(node.module or "", [name.name for name in node.names])
        elif isinstance(node, ast.ImportFrom):
            inside = path.relative_to(PACKAGE).parts[: depth - node.level]
            target = (*inside, *(node.module or "").split(".")) if node.module else inside
            for name in [target[0]] if target and target[0] else [alias.name for alias in node.names]:
                yield "ours", name


def _absolute(module: str, names: list[str] | None = None) -> tuple[str, str]:
    parts = module.split(".")
    if parts[0] != "dicomd":
        return "theirs", parts[0]
    return "ours", parts[1] if len(parts) > 1 else (names or [""])[0]


class ImportDirectionTests(SynchronousTestCase):
    def test_ours(self) -> None:
        """No package imports one of ours that stands above or beside it."""
        wrong = [
            f"{path.relative_to(PACKAGE)} imports {target}"
            for package, path in modules()
            if package not in JOINERS and package != "__init__"
            for kind, target in imports(path)
            if kind == "ours" and target not in OURS[package] | {package, "__version__"}
        ]
        self.assertEqual(wrong, [])

    def test_theirs(self) -> None:
        """Each framework stays in the rooms it was given."""
        wrong = [
            f"{path.relative_to(PACKAGE)} imports {target}"
            for package, path in modules()
            for kind, target in imports(path)
            if kind == "theirs" and target in THEIRS and package not in THEIRS[target] | JOINERS
        ]
        self.assertEqual(wrong, [])

    def test_the_walk_sees_imports(self) -> None:
        """The guard itself finds what it should find."""
        found = set(imports(PACKAGE / "workers" / "pool.py"))
        self.assertIn(("ours", "model"), found)
        self.assertIn(("theirs", "twisted"), found)

    def test_every_module_of_a_door_is_joined(self) -> None:
        """A module with rows of resources or services that `tap` does not import would be forgotten there."""
        tap = (PACKAGE / "tap.py").read_text()
        forgotten = [
            f"{door}/{path.name}"
            for door, method in (("web", "def routes(self)"), ("dimse", "def services(self)"))
            for path in (PACKAGE / door).glob("*.py")
            if method in path.read_text() and path.stem not in tap
        ]
        self.assertEqual(forgotten, [])
