"""The sources as data: which modules there are and what each imports, read from the syntax tree, never by
importing.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGES = ("callcontrol", "config", "dialplan", "gateway", "mediarelay", "numbering")
STANDARD_LIBRARY = frozenset(sys.stdlib_module_names)
_BUILT = frozenset(
    {".venv", ".git", "build", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
)


@dataclass(frozen=True, slots=True)
class Module:
    """One source file of the product."""

    name: str
    path: Path
    imports: tuple[tuple[str, int], ...]
    """Dotted name and line of everything it imports, inside functions and under TYPE_CHECKING too."""
    tree: ast.Module

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))


@cache
def modules() -> dict[str, Module]:
    """Dotted name -> module, of all packages of the product."""
    found: dict[str, Module] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            found[name] = Module(name, path, tuple(_imports(tree, name, path.name == "__init__.py")), tree)
    return found


def _imports(tree: ast.Module, module: str, is_package: bool) -> list[tuple[str, int]]:
    found: list[tuple[str, int]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.extend((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                keep = len(parts) - node.level + (1 if is_package else 0)
                base = ".".join([*parts[:keep], *([base] if base else [])])
            found.append((base, node.lineno))
            # "from package import module" names a module too; names that are none are dropped by resolve().
            found.extend((f"{base}.{alias.name}", node.lineno) for alias in node.names)
    return found


def resolve(name: str) -> str | None:
    """The module of ours that an imported name means; None for anything else."""
    while name:
        if name in modules():
            return name
        name = name.rpartition(".")[0]
    return None


@cache
def project_files() -> tuple[Path, ...]:
    """Files that are, or would be, in the repository: tracked ones and new ones that no ignore rule names."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode:  # a copy without its history
        paths = (path for path in ROOT.rglob("*") if not _BUILT & set(path.relative_to(ROOT).parts))
        return tuple(sorted(path for path in paths if path.is_file() and path.suffix not in (".so", ".pyc")))
    names = listed.stdout.decode().split("\0")
    return tuple(sorted(ROOT / name for name in names if name and (ROOT / name).is_file()))


@cache
def text_of(path: Path) -> str:
    """Text of a file; empty for what is not text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""
