"""Prove a wrapt wheel on the device: its extension module is used, and does what wrapt's pure Python code does.

Print what was measured as JSON; raise if something is wrong. This file runs on Python 2.7 and 3.4 and later.
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
from wrapt import _wrappers, wrappers


def must(what, found, expected):
    """Raise ValueError if a value is not the expected one."""
    if found != expected:
        raise ValueError("{}: found {!r}, expected {!r}".format(what, found, expected))


def compiled():
    """Check that the extension module is used: without it, wrapt falls back to Python silently."""
    names = (
        "ObjectProxy",
        "CallableObjectProxy",
        "PartialCallableObjectProxy",
        "FunctionWrapper",
        "BoundFunctionWrapper",
    )
    for name in names:
        for module in (wrapt, wrappers):
            if hasattr(module, name):
                must(name, getattr(module, name) is getattr(_wrappers, name), True)
    must("a built-in type", isinstance(_wrappers.ObjectProxy, type), True)
    must("the file", _wrappers.__file__.endswith(".so"), True)
    return len(names)


def decorators():
    """Check decorators of a function, method, class method, static method and class; return how many."""

    @wrapt.decorator
    def with_instance(wrapped, instance, args, kwargs):
        return (getattr(instance, "__name__", type(instance).__name__), wrapped(*args, **kwargs))

    @with_instance
    def function(a, b=2):
        """Add."""
        return a + b

    class Decorated(object):
        @with_instance
        def method(self, a):
            return a

        @with_instance
        @classmethod
        def class_method(cls, a):
            return (cls.__name__, a)

        @with_instance
        @staticmethod
        def static_method(a):
            return a

    @with_instance
    class DecoratedClass(object):
        pass

    must("a function", function(1), ("NoneType", 3))
    must("its name and docstring", (function.__name__, function.__doc__), ("function", "Add."))
    signature = inspect.getargspec if sys.version_info < (3,) else inspect.getfullargspec
    must("its arguments", signature(function)[0], ["a", "b"])
    must("a method", Decorated().method(5), ("Decorated", 5))
    must("a class method", Decorated.class_method(6), ("Decorated", ("Decorated", 6)))
    must("a static method", Decorated.static_method(7), ("NoneType", 7))
    must("a class", type(DecoratedClass()[1]).__name__, "DecoratedClass")
    return 5


def proxies():
    """Check that a proxy behaves as its object does, except for its type; return how many."""
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

    class CountingProxy(wrapt.ObjectProxy):
        def __init__(self, wrapped):
            super(CountingProxy, self).__init__(wrapped)
            self._self_count = 0

        def __call__(self, *args):
            self._self_count += 1
            return self.__wrapped__(*args)

    counting = CountingProxy(len)
    must("a call", (counting("abc"), counting._self_count), (3, 1))  # noqa: SLF001  wrapt's name for own attributes
    must("a partial call", wrapt.PartialCallableObjectProxy(divmod, 17)(5), (3, 2))

    class Node(object):
        pass

    cycle = Node()
    cycle.proxy = wrapt.ObjectProxy(cycle)
    reference = weakref.ref(cycle)
    del cycle
    gc.collect()
    must("a reference cycle through a proxy", reference(), None)
    try:
        wrapt.ObjectProxy.__new__(wrapt.ObjectProxy).append(1)
    except ValueError:
        return 6
    raise ValueError("a proxy without an object can be used, expected ValueError")


def patches():
    """Check that a module's functions are wrapped in place and temporarily, import hooks and locks; return how many."""
    module = types.ModuleType("pibuild_patched")
    module.answer = lambda: 41
    sys.modules[module.__name__] = module

    def plus_one(wrapped, _, args, kwargs):
        return wrapped(*args, **kwargs) + 1

    wrapt.wrap_function_wrapper(module.__name__, "answer", plus_one)
    must("a wrapped function", module.answer(), 42)

    @wrapt.transient_function_wrapper(module.__name__, "answer")
    def doubled(wrapped, _, args, kwargs):
        return 2 * wrapped(*args, **kwargs)

    @doubled
    def meanwhile():
        return module.answer()

    must("temporarily", (meanwhile(), module.answer()), (84, 42))
    modules = []
    wrapt.register_post_import_hook(modules.append, "pibuild_imported")
    imported = types.ModuleType("pibuild_imported")
    wrapt.notify_module_loaded(imported)
    must("an import hook", modules, [imported])
    entries = []

    class Locked(object):
        @wrapt.synchronized
        def enter(self):
            entries.append(1)
            return self.inner()

        @wrapt.synchronized
        def inner(self):
            return len(entries)

    must("synchronized", Locked().enter(), 1)
    return 4


def main():
    """Run all checks; print what was measured as JSON."""
    measured = {"wrapt": ".".join(wrapt.__version_info__), "python": platform.python_version()}
    for check in (compiled, decorators, proxies, patches):
        measured[check.__name__] = check()
    print(json.dumps(measured, sort_keys=True))


main()
