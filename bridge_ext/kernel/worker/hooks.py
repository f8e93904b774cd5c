"""What the worker changes in other modules, at the moment when its code imports them.

Nothing is imported for it, so a worker starts as light as without, and where a module is missing
nothing happens.
"""

from __future__ import annotations

import builtins
import sys
import threading

from . import nobody

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .publishing import Publisher

    Hook = Callable[[Any], None]
    Options = dict[str, dict[str, Any]]

_DISPLAY = "IPython.core.display_functions"
"""Where IPython's functions are; `IPython.display` takes them from there."""


class Later:
    """A publisher that is made when something is shown first: a worker starts without it.

    Args:
        send: brings its messages to the kernel.
    """

    def __init__(self, send: Callable[[list[Any]], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._made: Publisher | None = None
        # Until the kernel says otherwise: what pandas has in a notebook.
        self._options: Options = {"changed": {}, "defaults": {"display.max_columns": 20}}

    def __call__(self) -> Publisher:
        """The publisher."""
        if self._made is None:
            from .publishing import Publisher

            with self._lock:
                self._made = self._made or Publisher(self._send, self._options)
        return self._made

    def follow(self, options: Options) -> None:
        """Show things with these display options of the kernel from now on."""
        with self._lock:
            self._options = {name: dict(options[name]) for name in ("changed", "defaults")}
            if self._made is not None:
                self._made.options = self._options


def install(publisher: Later) -> None:
    """Bring what this process's code shows to the notebook, and let no prompt wait."""
    nobody.install()
    shown = _functions(publisher)
    builtins.display = shown["display"]  # type: ignore[attr-defined]

    def ipython(module: Any) -> None:
        vars(module).update(shown)

    def agg(module: Any) -> None:
        module.FigureCanvasAgg.manager_class = _manager_class(publisher)

    hooks: dict[str, Hook] = {
        _DISPLAY: ipython,
        "matplotlib.backends.backend_agg": agg,
        "pdb": nobody.pdb,
        "getpass": nobody.getpass,
    }
    for name in hooks.keys() & sys.modules.keys():
        hooks[name](sys.modules[name])
    sys.meta_path.insert(0, Finder(hooks))


def _functions(publisher: Later) -> dict[str, Any]:
    """The publisher's methods as functions, which a pickle names by where IPython has them."""

    def display(*objs: Any, **options: Any) -> Any:
        return publisher().display(*objs, **options)

    def publish_display_data(data: Any, metadata: Any = None, **options: Any) -> None:
        publisher().publish_display_data(data, metadata, **options)

    def clear_output(wait: bool = False) -> None:
        publisher().clear_output(wait)

    made = (display, publish_display_data, clear_output)
    for function in made:
        function.__doc__ = f"See `IPython.display.{function.__name__}`."
        function.__module__, function.__qualname__ = _DISPLAY, function.__name__
    return {function.__name__: function for function in made}


def _manager_class(publisher: Later) -> Any:
    """What pyplot and `Figure.show` call to show a figure that Agg draws."""
    base: Any = sys.modules["matplotlib.backend_bases"].FigureManagerBase

    class FigureManager(base):  # type: ignore[misc]
        """A figure that is shown in the notebook."""

        def show(self) -> None:
            publisher().display(self.canvas.figure)

        @classmethod
        def pyplot_show(cls, close: bool = True, block: bool | None = None) -> None:
            publisher().show_figures(close)

    return FigureManager


class Finder:
    """Lets the other finders find modules, and has a hook called after the import of some."""

    def __init__(self, hooks: Mapping[str, Hook]) -> None:
        self._hooks = hooks

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """The spec of a module that has a hook; None for any other."""
        hook = self._hooks.get(name)
        if hook is None:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find(name, path, target) if find is not None and finder is not self else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader, hook)
                return spec
        return None


class _Loader:
    """A module's loader, followed by a hook; the module itself sees its own loader."""

    def __init__(self, loader: Any, hook: Hook) -> None:
        self._loader, self._hook = loader, hook

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        try:
            self._hook(module)
        except Exception as error:  # a version that is made otherwise: the import must not fail
            sys.stderr.write(
                f"bridge: {module.__name__} is not hooked ({type(error).__name__}: {error})\n"
            )
