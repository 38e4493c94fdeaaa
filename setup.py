"""The native geometry kernel: a plain shared library, called through ctypes; all else stands in pyproject.toml.

It is optional: without a compiler the package installs all the same, and `pcclora.ops.backends()` says so.
"""

import sys

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

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


setup(
    cmdclass={"build_ext": BuildLibrary},
    ext_modules=[Extension("pcclora.ops._geometry", ["pcclora/ops/geometry.cpp"], language="c++", optional=True)],
)
