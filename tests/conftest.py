"""What all tiers share: the --long option, and the image that image/build has made."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagebuild.context import Context, make_context
from imagebuild.recipe import make_recipe


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long", action="store_true", help="also run what takes many minutes (marker: long)"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # The linters begin: pyright takes longest of all, and would end alone.
    items.sort(key=lambda item: item.path.name != "test_lint.py")
    if config.getoption("--long"):
        return
    skip = pytest.mark.skip(reason="only with --long")
    for item in items:
        if "long" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def context() -> Context:
    """The build that made the image under test; a missing image is a failure, never a skip."""
    found = make_context(make_recipe("hearth"))
    if not found.raw_image.exists():
        pytest.fail(f"{found.raw_image} is not there; build it first: sudo image/build")
    return found


@pytest.fixture(scope="session")
def tools(context: Context) -> Path:
    """The tools tree of that build."""
    return context.tools.resolve()
