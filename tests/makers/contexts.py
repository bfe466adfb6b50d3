"""Build contexts for tests: whatever a test does not name is the plainest value, or made as in the product."""

from typing import Any

from pibuild.build.context import BuildContext
from pibuild.config.settings import Settings
from pibuild.console import Console
from pibuild.store.local import Store

_PARTS = ("engine", "fetcher", "remote")


def make_context(store: Store, console: Console, **changes: Any) -> BuildContext:
    """Return a context with this store; an engine, a fetcher and a remote may be given, too."""
    parts = {name: changes.pop(name) for name in _PARTS if name in changes}
    plain: dict[str, Any] = {"settings": Settings(), "environ": {}, "console": console, "uid": 1000, "gid": 1000}
    context = BuildContext(**plain | changes)
    for name, part in ({"store": store} | parts).items():
        setattr(context, name, part)
    return context
