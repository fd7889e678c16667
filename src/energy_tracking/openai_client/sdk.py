"""What we know of openai beyond its documentation: the only place that names its private parts.

``PRIVATE_NAMES`` lists them. Each is probed before it is used, and is missing without harm: the
call goes on as without us, what is lost is stated once, and its row says what that is.

To use another one, add a row, a function here that uses it, and an entry to
``tests/shell/test_sdk.py``, which renames each in a copy of the SDK and makes calls with that.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any, get_origin

from energy_tracking.errors import EnergyTrackingWarning
from energy_tracking.lifecycle import is_first
from energy_tracking.usage.endpoints import provider_of

SDK = "openai"
CLIENTS = ("OpenAI", "AsyncOpenAI")
"""The classes that all clients are of."""

AZURE_CLIENTS = ("AzureOpenAI", "AsyncAzureOpenAI")

REQUEST = "request"
"""Not private, and the one method we cannot do without."""

COPIES = ("copy", "with_options")
"""Methods that make a client from a client."""

RAW_RESPONSE_HEADER = "x-stainless-raw-response"
"""Marks a request whose caller is to get the HTTP response and not the SDK's object."""

RETRY_COUNT_HEADER = "x-stainless-retry-count"
"""How often the SDK had sent a request before [1]."""


@dataclass(frozen=True, slots=True)
class PrivateName:
    """A private name of the SDK.

    Attributes:
        name: The name.
        owner: The class whose name it is.
        without: What is done, and lost, where it is missing.
    """

    name: str
    owner: str
    without: str

    def report_missing(self) -> None:
        """State once that this version of the SDK does not have it."""
        if is_first(f"openai has no {self.name}"):
            warnings.warn(
                f"openai {_version()} has no {self.owner}.{self.name}, so {self.without}; "
                "please report this version to the authors of energy_tracking",
                EnergyTrackingWarning,
                stacklevel=2,
            )


PROCESS_RESPONSE = PrivateName(
    "_process_response",
    "SyncAPIClient",
    "tokens are read from the object that the SDK returns, and a call over whose answer the SDK"
    " raises has none",
)
PROCESS_DATA = PrivateName(
    "_process_response_data",
    "BaseClient",
    "tokens are read from the bytes of each response",
)
ITERATOR = PrivateName(
    "_iterator",
    "Stream",
    "chat streams are not asked for their usage, and are partial where the caller does not ask",
)
OPEN_SOCKET = PrivateName(
    "_connect_ws",
    "ResponsesConnectionManager",
    "calls on a websocket that the SDK has opened again are not counted",
)
SOCKET = PrivateName("_connection", "ResponsesConnection", "calls over websockets are not counted")
SOCKET_CLIENT = PrivateName(
    "__client", "ResponsesConnectionManager", "calls over websockets are not counted"
)
SOCKET_MODEL = PrivateName(
    "__model",
    "RealtimeConnectionManager",
    "the model of a websocket is known only where its messages name it",
)
PRIVATE_NAMES = (
    PROCESS_RESPONSE,
    PROCESS_DATA,
    ITERATOR,
    OPEN_SOCKET,
    SOCKET,
    SOCKET_CLIENT,
    SOCKET_MODEL,
)


# --- clients ---------------------------------------------------------------------------


def is_client(client: object) -> bool:
    """Whether this is a client of the SDK, also of a copy of it that was imported before."""
    return _is_of_class(type(client), CLIENTS)


def is_azure_client(client: object) -> bool:
    """Whether this is a client for Azure, wherever it sends its requests."""
    return _is_of_class(type(client), AZURE_CLIENTS)


def provider_of_client(client: Any, host: str) -> str:
    """``gen_ai.provider.name`` of a client's requests.

    Args:
        client: The client.
        host: Where it sends them.
    """
    # Of Azure also behind a host of one's own, by the kind of client or the query it adds.
    is_azure = is_azure_client(client) or "api-version" in client.default_query
    return provider_of(host, default="azure.ai.openai" if is_azure else "openai")


def _is_of_class(kind: type, names: tuple[str, ...]) -> bool:
    return any(each.__name__ in names and _is_of_sdk(each.__module__) for each in kind.__mro__)


def _is_of_sdk(module: object) -> bool:
    return str(module).partition(".")[0] == SDK


def _version() -> str:
    return str(getattr(sys.modules.get(SDK), "VERSION", "?"))


def client_classes() -> list[type]:
    """The SDK's client classes, and those that users have derived from them."""
    import openai

    found: list[type] = []
    # One that a test has replaced is still found as the base of another.
    waiting = [getattr(openai, name, None) for name in (*CLIENTS, *AZURE_CLIENTS)]
    while waiting:
        kind = waiting.pop(0)
        if isinstance(kind, type) and _is_of_class(kind, CLIENTS) and kind not in found:
            found.append(kind)
            waiting += [*kind.__subclasses__(), *kind.__mro__[1:]]
    return found


def sdk_function(client_class: type, name: str, keyword: str | None = None) -> FunctionType | None:
    """The function of the SDK that is a client's method, under whatever others put around it.

    Args:
        client_class: Class of the client.
        name: Name of the method.
        keyword: An argument that it must take by this name.
    """
    definitions = [vars(kind)[name] for kind in client_class.__mro__ if name in vars(kind)]
    # The last is that of the base, which those of subclasses lead to.
    for layer in layers_of(definitions[-1]) if definitions else ():
        # The globals of a function are its own; `functools.wraps` copies all else.
        if isinstance(layer, FunctionType) and _is_of_sdk(layer.__globals__.get("__name__")):
            return layer if keyword is None or _takes(layer, keyword) else None
    return None


def _takes(function: Callable[..., Any], keyword: str) -> bool:
    return keyword in inspect.signature(function).parameters


def layers_of(method: object) -> list[Any]:
    """A method and every function that it wraps or holds, outermost first."""
    layers: list[Any] = []
    waiting = [method]
    while waiting:
        layer = waiting.pop(0)
        if not any(layer is each for each in layers):
            layers.append(layer)
            waiting += _layers_below(layer)
    return layers


def _layers_below(layer: Any) -> Iterator[Any]:
    for name in ("__wrapped__", "__func__"):
        if hasattr(layer, name):
            yield getattr(layer, name)
    if isinstance(layer, FunctionType):
        for cell in layer.__closure__ or ():
            with suppress(ValueError):  # not filled yet
                if callable(cell.cell_contents):
                    yield cell.cell_contents


def calls_method(function: FunctionType, name: str) -> bool:
    """Whether the code of a function names a method, as ``super().request(...)`` does.

    Args:
        function: The function, those inside of it included.
        name: Name of the method.
    """
    waiting = [function.__code__]
    for code in waiting:
        if name in code.co_names or name in code.co_consts:
            return True
        waiting += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
    return False


# --- streams ---------------------------------------------------------------------------


def is_sdk_stream(stream_cls: Any) -> bool:
    """Whether this is a stream class of the SDK itself, whose instances we know."""
    kind = get_origin(stream_cls) or stream_cls
    return getattr(kind, "__name__", None) in ("Stream", "AsyncStream") and _is_of_sdk(
        getattr(kind, "__module__", None)
    )


def has_iterator(stream_cls: Any) -> bool:
    """Whether what a stream iterates over can be replaced."""
    kind = get_origin(stream_cls) or stream_cls
    names = {
        name
        for layer in layers_of(kind.__init__)
        if isinstance(layer, FunctionType)
        for name in layer.__code__.co_names
    }
    if ITERATOR.name not in names:
        ITERATOR.report_missing()
    return ITERATOR.name in names


def replace_iterator(stream: Any, around: Callable[[Any], Any]) -> None:
    """Put something around what a stream iterates over.

    Args:
        stream: The SDK's stream.
        around: Takes its iterator and returns the one that replaces it.
    """
    setattr(stream, ITERATOR.name, around(getattr(stream, ITERATOR.name)))


def leaves_failed_streams_open() -> bool:
    """Whether a stream whose server sent an error is closed by nobody but its user."""
    # Found by running 1.66 and 3.57; the versions between close theirs at the latest when they
    # are collected.
    return _version() < "3"


def is_error_sent_by_server(error: BaseException) -> bool:
    """Whether an error is one that the server has sent in a stream."""
    kind = type(error)
    # Those of connections and of whole responses are of subclasses.
    return kind.__name__ == "APIError" and _is_of_sdk(kind.__module__)


# --- websockets ------------------------------------------------------------------------


def socket_methods(manager: type) -> tuple[str, ...]:
    """The methods by which a connection manager opens its socket.

    The first of the table also opens it again. Without it, there are those that enter the
    manager, which are one function.
    """
    if OPEN_SOCKET.name in vars(manager):
        return (OPEN_SOCKET.name,)
    if _takes(manager, "on_reconnecting"):
        OPEN_SOCKET.report_missing()
    return tuple(name for name in ("__enter__", "__aenter__", "enter") if name in vars(manager))


def socket_of(opened: Any) -> Any:
    """The socket that was opened, or that a connection stands on; None where it has none."""
    if hasattr(opened, SOCKET.name):
        return getattr(opened, SOCKET.name)
    if _is_of_sdk(type(opened).__module__):
        SOCKET.report_missing()
        return None
    return opened


def client_and_model_of(manager: Any) -> tuple[Any, Any]:
    """The client and the model that a connection manager was made with, None where unknown."""
    # Private to each class, under a name of its own.
    private = {"__" + name.rpartition("__")[2]: value for name, value in vars(manager).items()}
    if SOCKET_CLIENT.name not in private:
        SOCKET_CLIENT.report_missing()
    # Not every kind of connection is opened for a model.
    if SOCKET_MODEL.name not in private and _takes(type(manager), "model"):
        SOCKET_MODEL.report_missing()
    return private.get(SOCKET_CLIENT.name), private.get(SOCKET_MODEL.name)
