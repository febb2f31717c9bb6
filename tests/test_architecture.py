"""The structure that docs/architecture.md describes."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

import nbsmce
from nbsmce import _cpu, _cuda

ROOT = Path(nbsmce.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# What a module of the package may import of the package, by the first matching prefix. A name stands for all below it.
ALLOWED = {
    "_cpu.lanes.storage": set(),
    "_cpu.lanes": {"_compile", "_cpu.lanes"},
    "_cpu": {"_borrowed", "_compile", "_formula", "_arrays", "_prepared", "_spec", "_threads", "_cpu"},
    "_cuda.launch": {"_store", "_cuda"},
    "_cuda": {"_formula", "_arrays", "_spec", "_cuda"},
    "_borrowed": set(),
    "_compile": {"_borrowed", "_interrupts", "_store"},
    "_formula": set(),
    "_arrays": set(),
    "_spec": set(),
    "_interrupts": set(),
    "_store": {""},  # when the package was imported
    "_threads": set(),
    "_dispatch": {"_interrupts"},
    "_prepared": set(),
    "_softmax": {"_dispatch", "_prepared"},
    "_losses": {"_dispatch", "_prepared", "_spec"},
    "_nll": {"_dispatch", "_spec"},
    "_cli": {"_cli", "_cuda.driver", "_store", "_threads", "_warmup", ""},
    "_warmup": {"_cpu.warmup"},
    "__main__": {"_cli"},
    "": {"_softmax", "_losses", "_nll", "_spec", "_threads", "_warmup"},
}
NUMBA = ("_borrowed", "_compile", "_store", "_cpu", "_cuda")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(p for p in parts if p != "__init__")


def imports(path: Path):
    """The absolute names that a file imports, those of the package as ``nbsmce.…``."""
    package = ["nbsmce", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            base += node.module.split(".") if node.module else []
            for alias in node.names:
                name = ".".join([*base, alias.name])
                inner = ROOT.joinpath(*name.split(".")[1:])
                yield name if inner.with_suffix(".py").exists() or inner.is_dir() else ".".join(base)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_within_the_package(path):
    module = module_of(path)
    allowed = next(
        a for prefix, a in ALLOWED.items() if module == prefix or module.startswith(prefix + ".") or not prefix
    )
    for name in imports(path):
        if name.split(".")[0] == "nbsmce":
            inner = name.removeprefix("nbsmce").removeprefix(".")
            assert any(inner == a or (a and inner.startswith(a + ".")) for a in allowed), f"{module} imports {inner}"


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_from_outside(path):
    module = module_of(path)
    outside = {name.split(".")[0] for name in imports(path)} - {"nbsmce"}
    if not module.startswith("_cli"):
        assert not outside & {"torch", "scipy", "dask", "cupy", "jax", "matplotlib", "sklearn", "ml_dtypes"}
    if not module.startswith(NUMBA) and not module.startswith("_cli"):
        assert not outside & {"numba", "llvmlite"}


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_can_be_read_in_one_sitting(path):
    assert len(path.read_text().splitlines()) <= 380


def test_no_code_from_text():
    for path in FILES:
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        names = {n.func.id for n in calls if isinstance(n.func, ast.Name)}
        assert not names & {"exec", "eval", "compile"}, path


def test_the_operations_without_a_jit_are_those_with_one():
    """The two modules behind ``lanes`` have the same functions with the same parameters."""
    from nbsmce._cpu import lanes
    from nbsmce._cpu.lanes import llvm, llvm_across, llvm_blocks, llvm_control, llvm_memory, python, python_memory

    for name in set(lanes.__all__) - {"LANES"}:
        modules = (llvm, llvm_across, llvm_blocks, llvm_control, llvm_memory), (python, python_memory)
        emitted, stepped = (next(getattr(m, name) for m in some if hasattr(m, name)) for some in modules)
        if inspect.isfunction(emitted):
            parameters = [list(inspect.signature(f).parameters) for f in (emitted, stepped)]
            assert parameters[0] == parameters[1], name


def test_a_backend_has_the_functions_that_are_called():
    source = "".join((ROOT / f"{name}.py").read_text() for name in ("_softmax", "_losses", "_nll"))
    for name in _cpu.__all__:
        assert f").{name}(" in source or f"chosen.{name}(" in source


def test_backends_have_the_same_functions():
    assert _cpu.__all__ == _cuda.__all__
    for name in _cpu.__all__:
        parameters = [list(inspect.signature(getattr(b, name)).parameters.values()) for b in (_cpu, _cuda)]
        of_cpu, of_cuda = ([(p.name, p.default) for p in ps] for ps in parameters)
        assert of_cpu == of_cuda, name


def test_the_instructions_of_the_simulator_are_those_of_the_gpu():
    """The two modules behind ``device`` have the same names; the one for the GPU is read, not imported.

    The simulator runs one block after another, so there are no clusters of blocks.
    """

    def names(module):
        body = ast.parse((ROOT / "_cuda" / f"{module}.py").read_text()).body
        found = {n.name for n in body if isinstance(n, ast.FunctionDef)}
        targets = [t for n in body if isinstance(n, ast.Assign) for t in n.targets]
        targets = [e for t in targets for e in (t.elts if isinstance(t, ast.Tuple) else [t])]
        return {n for n in found | {t.id for t in targets} if not n.startswith("_")}

    assert names("ptx") - names("simulated") == {"cluster_arrive", "cluster_wait", "of_block"}
    assert names("simulated") <= names("ptx")
