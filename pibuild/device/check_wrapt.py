"""Proves a wrapt wheel on the device: its extension module is in use, and does what the pure Python beside it does.

Runs on Python 2.7 and 3.4 and later; prints JSON of what was measured, and raises where something is wrong.
"""

from __future__ import absolute_import, division, print_function

import gc
import inspect
import json
import platform
import sys
import types
import weakref

import wrapt
from wrapt import _wrappers
from wrapt import wrappers as both


def must(what, found, wanted):
    """Raise where a finding is not what it must be."""
    if found != wanted:
        raise ValueError("{}: found {!r}, expected {!r}".format(what, found, wanted))


def compiled():
    """Without its extension module wrapt falls back to Python, without a word."""
    names = (
        "ObjectProxy",
        "CallableObjectProxy",
        "PartialCallableObjectProxy",
        "FunctionWrapper",
        "BoundFunctionWrapper",
    )
    for name in names:
        for module in (wrapt, both):
            if hasattr(module, name):
                must(name, getattr(module, name) is getattr(_wrappers, name), True)
    must("a built-in type", isinstance(_wrappers.ObjectProxy, type), True)
    must("the file", _wrappers.__file__.endswith(".so"), True)
    return len(names)


def decorators():
    """A decorator knows what it decorates: function, method, class method, static method or class."""

    @wrapt.decorator
    def told(wrapped, instance, args, kwargs):
        return (getattr(instance, "__name__", type(instance).__name__), wrapped(*args, **kwargs))

    @told
    def function(a, b=2):
        """Add."""
        return a + b

    class Kept(object):
        @told
        def method(self, a):
            return a

        @told
        @classmethod
        def of_class(cls, a):
            return (cls.__name__, a)

        @told
        @staticmethod
        def of_none(a):
            return a

    @told
    class Made(object):
        pass

    must("a function", function(1), ("NoneType", 3))
    must("its name and words", (function.__name__, function.__doc__), ("function", "Add."))
    signature = inspect.getargspec if sys.version_info < (3,) else inspect.getfullargspec
    must("its arguments", signature(function)[0], ["a", "b"])
    must("a method", Kept().method(5), ("Kept", 5))
    must("a method of the class", Kept.of_class(6), ("Kept", ("Kept", 6)))
    must("a method of nobody", Kept.of_none(7), ("NoneType", 7))
    must("a class", type(Made()[1]).__name__, "Made")
    return 5


def proxies():
    """A proxy is what it stands for in all but its type."""
    numbers = [3, 1, 2]
    proxy = wrapt.ObjectProxy(numbers)
    proxy.append(9)
    proxy[0] = 4
    proxy += [8]
    must("the list", numbers, [4, 1, 2, 9, 8])
    must("its behaviour", (len(proxy), 9 in proxy, proxy[1:3], sorted(proxy)), (5, True, [1, 2], [1, 2, 4, 8, 9]))
    must("its class", (isinstance(proxy, list), type(proxy) is wrapt.ObjectProxy), (True, True))
    number = wrapt.ObjectProxy(7)
    found = (number + 1, 1 - number, number // 2, number % 4, -number, number << 2, number**2, divmod(number, 2))
    must("arithmetic", found, (8, -6, 3, 3, -7, 28, 49, (3, 1)))
    must("comparison", (number < 8, number == 7, hash(number), bool(number)), (True, True, hash(7), True))

    class Own(wrapt.ObjectProxy):
        def __init__(self, wrapped):
            super(Own, self).__init__(wrapped)
            self._self_count = 0

        def __call__(self, *args):
            self._self_count += 1
            return self.__wrapped__(*args)

    own = Own(len)
    must("a call", (own("abc"), own._self_count), (3, 1))  # noqa: SLF001  wrapt's way to keep something in a proxy
    must("a part of a call", wrapt.PartialCallableObjectProxy(divmod, 17)(5), (3, 2))

    class Held(object):
        pass

    circle = Held()
    circle.proxy = wrapt.ObjectProxy(circle)
    gone = weakref.ref(circle)
    del circle
    gc.collect()
    must("a circle through a proxy", gone(), None)
    try:
        wrapt.ObjectProxy.__new__(wrapt.ObjectProxy).append(1)
    except ValueError:
        return 6
    raise ValueError("a proxy of nothing does not refuse to be used")


def patches():
    """A function of a module is wrapped where it stands, once it is imported, and for a while."""
    module = types.ModuleType("pibuild_patched")
    module.answer = lambda: 41
    sys.modules[module.__name__] = module

    def next_one(wrapped, _, args, kwargs):
        return wrapped(*args, **kwargs) + 1

    wrapt.wrap_function_wrapper(module.__name__, "answer", next_one)
    must("a wrapped function", module.answer(), 42)

    @wrapt.transient_function_wrapper(module.__name__, "answer")
    def doubled(wrapped, _, args, kwargs):
        return 2 * wrapped(*args, **kwargs)

    @doubled
    def meanwhile():
        return module.answer()

    must("for a while", (meanwhile(), module.answer()), (84, 42))
    seen = []
    wrapt.register_post_import_hook(seen.append, "pibuild_imported")
    imported = types.ModuleType("pibuild_imported")
    wrapt.notify_module_loaded(imported)
    must("told of an import", seen, [imported])
    held = []

    class Locked(object):
        @wrapt.synchronized
        def enter(self):
            held.append(1)
            return self.inner()

        @wrapt.synchronized
        def inner(self):
            return len(held)

    must("synchronized", Locked().enter(), 1)
    return 4


def main():
    """Check all of it, and print what was measured."""
    said = {"wrapt": ".".join(wrapt.__version_info__), "python": platform.python_version()}
    for check in (compiled, decorators, proxies, patches):
        said[check.__name__] = check()
    print(json.dumps(said, sort_keys=True))


main()
