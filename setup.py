"""What `pyproject.toml` cannot say: the data in `bundled/` is installed as `quantcore/bundled/`."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

DATA = "quantcore.bundled"


class BuildPackage(build_py):
    """Leaves out the scripts that produce the data: they need the checkout."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """Return the modules of a package to install."""
        modules: list[tuple[str, str, str]] = super().find_package_modules(package, package_dir)
        return [] if package == DATA else modules


setup(
    cmdclass={"build_py": BuildPackage},
    packages=[*find_packages(include=["quantcore", "quantcore.*"]), DATA],
    package_dir={DATA: "bundled"},
)
