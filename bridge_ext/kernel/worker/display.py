"""What an object shows of itself: a MIME bundle, by the rules of IPython's DisplayFormatter.

`_repr_mimebundle_` comes first, a `_repr_…_` method adds the types that it leaves out, and either
may return `(data, metadata)`. This runs the object's own code, so it happens only when a kernel
asks for a display, or when the worker's code displays something.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
import threading
import traceback
import types

from ..wire import mimes
from ..wire.limits import MAX_DISPLAY
from ..wire.naming import module_of, name_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any

    Bundle = tuple[dict[str, Any], dict[str, Any]]

_REPRS = (
    ("text/html", "_repr_html_"),
    ("text/markdown", "_repr_markdown_"),
    ("image/svg+xml", "_repr_svg_"),
    ("image/png", "_repr_png_"),
    ("image/jpeg", "_repr_jpeg_"),
    ("text/latex", "_repr_latex_"),
    ("application/json", "_repr_json_"),
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
_CONTAINERS = (list, tuple, dict, set, frozenset)
_REPRS_OF_CONTAINERS: list[Any] = [cls.__repr__ for cls in _CONTAINERS]
_SCALARS = frozenset((type(None), bool, int, float, complex, str, bytes))
_WIDTH = 79
"""Characters of a line, as IPython has them."""
_SHORT = 40
"""Items of a container whose repr is tried first."""


def mime_bundle(
    obj: Any, include: Container[str] | None = None, exclude: Container[str] | None = None
) -> Bundle:
    """`(data, metadata)` of an object; what fails, or is too large, is left out and said.

    An object that has no text of its own, only the interpreter's, has no text/plain here.
    """
    data: dict[str, Any] = {}
    metadata: dict[str, Any] = {}

    def add(mime: str, value: Any) -> None:
        if isinstance(value, tuple) and len(value) == 2:
            value, about = value
            if isinstance(about, dict):
                metadata[mime] = about
        if value is not None:
            data[mime] = value

    def wanted(mime: str) -> bool:
        if mime in data or (include and mime not in include):
            return False
        return not (exclude and mime in exclude)

    own = _call(obj, "_repr_mimebundle_", include=include, exclude=exclude)
    data.update({m: value for m, value in _taken_apart(own, metadata) if wanted(m)})
    for mime, method in _REPRS:
        if wanted(mime):
            add(mime, _call(obj, method))
    if wanted("image/png") and _is_figure(obj):
        add("image/png", _guarded(_picture, obj))
    if wanted("text/plain"):
        add("text/plain", _plain(obj))
    return carried(data, metadata)


def carried(data: Any, metadata: Any) -> Bundle:
    """The part of a bundle that a display carries."""
    found: dict[str, Any] = {}
    for mime, value in data.items():
        taken = mimes.content(mime, value)
        if taken is None:
            continue
        if mimes.fits(taken):
            found[mime] = taken
        elif mime != "text/plain":
            sys.stderr.write(
                f"bridge: {mime} of {mimes.size(taken):,} bytes is not shown, because a display "
                f"carries up to {MAX_DISPLAY:,} bytes of each type\n"
            )
    return found, mimes.settings(metadata, found)


def real_method(obj: Any, name: str) -> Callable[..., Any] | None:
    """A method for display, unless the object only claims to have it."""
    try:
        if getattr(obj, "_ipython_canary_method_should_not_exist_", None) is not None:
            return None
        method = getattr(obj, name, None)
    except Exception:
        return None
    if isinstance(obj, type) and not isinstance(method, types.MethodType):
        return None
    return method if callable(method) else None


def _call(obj: Any, name: str, **kwargs: Any) -> Any:
    method = real_method(obj, name)
    return None if method is None else _guarded(method, **kwargs)


def _guarded(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """What it returns; an error is printed, as IPython does, and the rest is still shown."""
    try:
        return function(*args, **kwargs)
    except NotImplementedError:
        return None
    except Exception as error:
        raised = error.with_traceback(error.__traceback__ and error.__traceback__.tb_next)
        sys.stderr.write("".join(traceback.format_exception(raised)))
        return None


def _taken_apart(bundle: Any, metadata: dict[str, Any]) -> list[tuple[str, Any]]:
    """The items of what `_repr_mimebundle_` returned; its metadata is added."""
    if isinstance(bundle, tuple) and len(bundle) == 2:
        bundle, about = bundle
        if isinstance(about, dict):
            metadata.update(about)
    return list(bundle.items()) if isinstance(bundle, dict) else []


# ---------------------------------------------------------------- figures
def _is_figure(obj: Any) -> bool:
    module = sys.modules.get("matplotlib.figure")
    return module is not None and isinstance(obj, module.Figure)


def _picture(figure: Any) -> bytes | None:
    """A matplotlib figure as the inline backend draws it; an empty one is no picture."""
    if not figure.axes and not figure.lines:
        return None
    drawn = io.BytesIO()
    figure.canvas.print_figure(
        drawn,
        format="png",
        facecolor=figure.get_facecolor(),
        edgecolor=figure.get_edgecolor(),
        dpi=figure.dpi,
        bbox_inches="tight",
    )
    return drawn.getvalue()


# ---------------------------------------------------------------- text/plain
def _plain(obj: Any) -> str | None:
    """The text without addresses, or None where it says no more than the type."""
    cls: Any = type(obj)
    printed = real_method(obj, "_repr_pretty_") is not None
    if cls.__repr__ is object.__repr__ and not printed:
        return None
    try:
        text = _pretty(obj) if printed or _is_long(obj) else repr(obj)
    except Exception as error:
        return f"<{name_of(cls)}: its repr raised {name_of(type(error))}>"
    return _ADDRESS.sub("", text) if mimes.fits(text) else None


def bare(obj: Any) -> str:
    """The text of an object that has none of its own."""
    return f"<{module_of(type(obj))}.{name_of(type(obj))}>"


def _is_long(obj: Any) -> bool:
    """Whether a container is printed over several lines, or sorted."""
    cls: Any = type(obj)
    if not issubclass(cls, _CONTAINERS) or cls.__repr__ not in _REPRS_OF_CONTAINERS:
        return False
    if len(obj) > _SHORT or cls not in (list, tuple, dict):
        return True
    items = [*obj.keys(), *obj.values()] if cls is dict else obj
    return not _SCALARS.issuperset(map(type, items)) or len(repr(obj)) > _WIDTH


def _pretty(obj: Any) -> str:
    """The text as IPython prints it, where the user has IPython.

    It is imported for what prints itself so and for long containers, and for nothing else.
    """
    try:
        printer = importlib.import_module("IPython.lib.pretty")
    except ImportError:
        return repr(obj)
    text: str = printer.pretty(obj, max_width=_WIDTH)
    return text


# ---------------------------------------------------------------- options
_options_lock = threading.Lock()


@contextlib.contextmanager
def showing(options: dict[str, dict[str, Any]]) -> Any:
    """Let the kernel's display options hold for a while.

    Those that the user `changed` there hold always; its `defaults` only where the worker's own
    code has left the option alone.

    pandas has one set of options for all threads. While one thread shows something with the
    kernel's, another that starts to show something has them as well, and puts nothing back.
    """
    pandas = sys.modules.get("pandas")
    if pandas is None or not _options_lock.acquire(blocking=False):
        yield
        return
    try:
        with contextlib.ExitStack() as stack:
            for name, value in _to_set(options):
                with contextlib.suppress(Exception):  # another version, with other options
                    stack.enter_context(pandas.option_context(name, value))
            yield
    finally:
        _options_lock.release()


def _to_set(options: dict[str, dict[str, Any]]) -> list[tuple[str, Any]]:
    changed = dict(options["changed"])
    config = sys.modules.get("pandas._config.config")
    registered = getattr(config, "_registered_options", {})
    for name, value in options["defaults"].items():
        if name in changed or name not in registered or config is None:
            continue
        if config.get_option(name) == registered[name].defval:
            changed[name] = value
    return list(changed.items())
