"""What pyproject.toml has no words for: the native geometry kernel, and the folders that are copied into the package.

The kernel is a plain shared library, called through ctypes. It is optional: without a compiler the package installs all
the same, and `pcclora.ops.backends()` says so.
"""

import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

# No fused multiply-add, so that all backends agree bit for bit; nothing else of the arithmetic is relaxed.
UNIX = ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fopenmp-simd", "-fvisibility=hidden", "-pthread"]
MSVC = ["/std:c++17", "/O2", "/EHsc", "/fp:precise"]


class BuildLibrary(build_ext):
    """Builds a shared library that is no Python module: its name has no ABI tag, and it exports no PyInit."""

    def get_ext_filename(self, fullname: str) -> str:
        """Return the path of the library."""
        return fullname.replace(".", "/") + (".dll" if sys.platform == "win32" else ".so")

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """Return nothing: what is exported is marked so in the source."""
        return []

    def build_extension(self, ext: Extension) -> None:
        """Build with the flags of the compiler at hand."""
        ext.extra_compile_args = MSVC if self.compiler.compiler_type == "msvc" else UNIX
        ext.extra_link_args = [] if self.compiler.compiler_type == "msvc" else ["-pthread"]
        super().build_extension(ext)


class BuildWithFolders(build_py):
    """Copies configurations and cards into the package; in a checkout they are found beside it (pcclora/shipped.py)."""

    def run(self) -> None:
        """Build the package, and put the folders into it."""
        super().run()
        if not self.editable_mode:
            for source, target in self._folders().items():
                self.mkpath(str(Path(target).parent))
                self.copy_file(source, target, preserve_mode=False)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return all that is written."""
        return [*super().get_outputs(include_bytecode), *self._folders().values()]

    def _folders(self) -> dict[str, str]:
        files = [*Path("configs").rglob("*.yaml"), *Path("datasets").glob("*/README.md")]
        return {str(file): str(Path(self.build_lib, "pcclora", file)) for file in files}


setup(
    cmdclass={"build_ext": BuildLibrary, "build_py": BuildWithFolders},
    ext_modules=[Extension("pcclora.ops._geometry", ["pcclora/ops/geometry.cpp"], language="c++", optional=True)],
)
