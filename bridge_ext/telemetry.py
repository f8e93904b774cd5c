"""OpenTelemetry spans for calls: `pip install bridge-ext[otel]`.

    from bridge_ext import telemetry
    stop = telemetry.trace(bridge)      # until stop()

Each call is a span named after what is called, with the attributes `bridge.session`, `bridge.cell`
and, if it raised, the status ERROR with its text. Spans are children of the span that is current
where the call is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .kernel.errors import BridgeUsageError
from .kernel.model import CallEnded, CallStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from .bridge import Bridge
    from .kernel.model import Event


def trace(bridge: Bridge, tracer: Any = None) -> Callable[[], None]:
    """Make a span of each call of a bridge from now on.

    Args:
        bridge: whose calls.
        tracer: an OpenTelemetry tracer; by default that of the global provider.

    Returns:
        What ends it; spans of calls that still run are ended then.

    Raises:
        BridgeUsageError: OpenTelemetry is not installed.
    """
    try:
        from opentelemetry import trace as api
    except ImportError as error:
        raise BridgeUsageError(
            "OpenTelemetry is not installed: pip install 'bridge-ext[otel]'"
        ) from error
    spans = _Spans(tracer or api.get_tracer("bridge_ext"), api.Status, api.StatusCode.ERROR)
    unsubscribe = bridge.subscribe(spans.hear)

    def stop() -> None:
        unsubscribe()
        spans.end_all()

    return stop


class _Spans:
    """The spans of the calls that run, by number."""

    def __init__(self, tracer: Any, status: Any, error: Any) -> None:
        self._tracer, self._status, self._error = tracer, status, error
        self._open: dict[int, Any] = {}

    def hear(self, event: Event) -> None:
        """Begin or end a span."""
        if isinstance(event, CallStarted):
            self._open[event.number] = self._tracer.start_span(
                event.call,
                start_time=int(event.at * 1e9),
                attributes={"bridge.cell": event.cell},
            )
        elif isinstance(event, CallEnded):
            span = self._open.pop(event.number, None)
            if span is not None:
                span.set_attribute("bridge.session", event.session_id)
                if event.error is not None:
                    span.set_status(self._status(self._error, event.error))
                span.end()

    def end_all(self) -> None:
        """End what is open."""
        while self._open:
            self._open.popitem()[1].end()
