"""What we know of openai beyond its documentation: the only place that names its private parts.

``PRIVATE_NAMES`` lists them. Each is probed before it is used, and is missing without harm: the
call goes on as without us, what is lost is stated once, and its row says what that is.

To use another one, add a row, a function here that uses it, and an entry to
``tests/shell/test_sdk.py``, which renames each in a copy of the SDK and makes calls with that.
"""

from __future__ import annotations

import gc
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any, get_origin

from energy_tracking.errors import EnergyTrackingWarning, say_install
from energy_tracking.frozen import frozen
from energy_tracking.mocks import attributes_of, client_methods_of, is_mock
from energy_tracking.notices import is_first
from energy_tracking.openai_client.layers import SDK, held_by, is_of_sdk, layers_of
from energy_tracking.usage.endpoints import AZURE_DEPLOYMENTS, provider_of

CLIENTS = ("OpenAI", "AsyncOpenAI")
"""The classes that all clients are of."""

AZURE_CLIENTS = ("AzureOpenAI", "AsyncAzureOpenAI")

REQUEST = "request"
"""Not private, and the one method we cannot do without."""

MAKE = "__init__"

WAY_TO_REQUEST = ("post", REQUEST)
"""Methods, one of which calls the next, that every call of a model goes through."""

COPIES = ("copy", "with_options")
"""Methods that make a client from a client."""

RAW_RESPONSE_HEADER = "x-stainless-raw-response"
"""Marks a request whose caller is to get the HTTP response and not the SDK's object."""

RETRY_COUNT_HEADER = "x-stainless-retry-count"
"""How often the SDK had sent a request before [1]."""


@frozen()
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
                f"openai {_sdk_version()} has no {self.owner}.{self.name}, so {self.without}; "
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
PLATFORM_HEADERS = PrivateName(
    "platform_headers",
    "BaseClient",
    "a decorated function that makes no call is taken for one whose calls are not tracked",
)
BASE_URL = PrivateName(
    "_base_url",
    "BaseClient",
    "where a request goes is found out anew for each, which takes longer",
)
PRIVATE_NAMES = (
    BASE_URL,
    PROCESS_RESPONSE,
    PROCESS_DATA,
    ITERATOR,
    OPEN_SOCKET,
    SOCKET,
    SOCKET_CLIENT,
    SOCKET_MODEL,
    PLATFORM_HEADERS,
)


# --- clients ---------------------------------------------------------------------------


def is_client(client: object) -> bool:
    """Whether this is a client of the SDK, also of a copy of it that was imported before."""
    return _is_of_class(type(client), CLIENTS)


def find_client(given: object) -> Any:
    """The client of the SDK that this is, or that it stands for; None where it is neither.

    A proxy may say of itself what it likes: what counts is the client that its methods are of,
    or that it holds beside them.
    """
    holders = [given]
    if not is_mock(given):
        if is_client(given):
            return given
        methods = list(client_methods_of(given))
        if not methods:
            return None
        holders = [*(getattr(method, "__self__", None) for method in methods), given]
    held = (each for holder in holders for each in attributes_of(holder).values())
    return next(filter(is_client, held), None)


def kept_url(client: Any) -> Any:
    """The object that is a client's URL until it has another; None where that is not known.

    To ask for its ``base_url`` takes longer than all else that is done before a call: openai 3
    imports something each time.
    """
    if not _is_of_sdk_alone(type(client).base_url):
        return None  # which may make up a URL for each request
    kept = vars(client).get(BASE_URL.name)
    if kept is None:
        BASE_URL.report_missing()
    return kept


@lru_cache(maxsize=16)
def _is_of_sdk_alone(attribute: object) -> bool:
    return isinstance(attribute, property) and is_of_sdk(attribute.fget.__module__)


def is_azure_client(client: object) -> bool:
    """Whether this is a client for Azure, wherever it sends its requests."""
    kind: Any = type(client)
    return _is_azure_class(kind)


@lru_cache(maxsize=16)
def _is_azure_class(kind: type) -> bool:
    return _is_of_class(kind, AZURE_CLIENTS)


def provider_of_client(client: Any, host: str, path: str) -> str:
    """``gen_ai.provider.name`` of a client's requests.

    Args:
        client: The client.
        host: Where it sends them.
        path: Path of the request.
    """
    # Of Azure also behind a host of one's own: by the kind of client, or what Azure alone asks for.
    is_azure = is_azure_client(client) or "api-version" in client.default_query
    is_azure = is_azure or AZURE_DEPLOYMENTS in path.lower()
    return provider_of(host, "azure.ai.openai" if is_azure else "openai", path)


def _is_of_class(kind: type, names: tuple[str, ...]) -> bool:
    return any(each.__name__ in names and is_of_sdk(each.__module__) for each in kind.__mro__)


def _sdk_version() -> str:
    return str(getattr(sys.modules.get(SDK), "VERSION", "?"))


def _import_sdk() -> ModuleType:
    """The SDK.

    Raises:
        ModuleNotFoundError: It is not installed; says what to install.
    """
    try:
        import openai
    except ModuleNotFoundError as error:
        if error.name != SDK:  # it is there, and lacks something itself
            raise
        message = (
            "openai must be installed, so that its clients can be tracked; "
            f"{say_install('openai')}; calls of other clients are counted with "
            "Tracker().record(...)"
        )
        raise ModuleNotFoundError(message, name=SDK) from error
    return openai


def client_bases() -> list[type]:
    """The SDK's two kinds of clients, without one that a test has replaced."""
    openai = _import_sdk()
    kinds = [getattr(openai, name, None) for name in CLIENTS]
    return [kind for kind in kinds if isinstance(kind, type) and _is_of_class(kind, CLIENTS)]


def client_classes() -> list[type]:
    """The SDK's client classes, and those that users have derived from them."""
    openai = _import_sdk()
    found: list[type] = []
    # One that a test has replaced is still found as the base of another.
    waiting = [getattr(openai, name, None) for name in (*CLIENTS, *AZURE_CLIENTS)]
    while waiting:
        kind = waiting.pop(0)
        if isinstance(kind, type) and _is_of_class(kind, CLIENTS) and kind not in found:
            found.append(kind)
            waiting += [*kind.__subclasses__(), *kind.__mro__[1:]]
    return found


def count_requests() -> int | None:
    """How many requests the SDK has made ready so far, of whatever clients [1]; None if unknown."""
    module = sys.modules.get(SDK)
    if module is None:
        return 0
    for client in CLIENTS:
        # Each request asks this method, and that a cached function of the same name.
        method = getattr(getattr(module, client, None), PLATFORM_HEADERS.name, None)
        if isinstance(method, FunctionType):
            cached = method.__globals__.get(PLATFORM_HEADERS.name)
            cache_info = getattr(cached, "cache_info", None)
            if cache_info is not None:
                hits, misses, *_ = cache_info()
                return int(hits + misses)
    PLATFORM_HEADERS.report_missing()
    return None


def owner_of(client_class: type, name: str) -> type | None:
    """The class of the SDK whose method those of a client's subclasses lead to.

    Args:
        client_class: Class of the client.
        name: Name of the method.
    """
    # ``object`` has an ``__init__``, too.
    owners = [kind for kind in client_class.__mro__[:-1] if name in vars(kind)]
    return owners[-1] if owners else None


def sdk_function(
    client_class: type, name: str, keyword: str | None, known: Iterable[FunctionType]
) -> FunctionType | None:
    """The function of the SDK that is a client's method, under whatever others put around it.

    A replacement may keep the SDK's function anywhere: in a global, a class, a mock. Where it is
    in none of the usual places, it is looked for among all objects of the process.

    Args:
        client_class: Class of the client.
        name: Name of the method.
        keyword: An argument that it must take by this name.
        known: Functions that were found before.
    """
    owner = owner_of(client_class, name)
    if owner is None:
        return None
    module = vars(sys.modules.get(owner.__module__, owner))

    def is_it(found: object) -> bool:
        # The globals of a function are its own; `functools.wraps` copies all else.
        return (
            type(found) is FunctionType  # which asks nothing of any object of the program
            and found.__globals__ is module
            and found.__qualname__ == f"{owner.__qualname__}.{name}"
        )

    places: tuple[Callable[[], Iterable[Any]], ...] = (
        lambda: [
            layer
            for layer in layers_of(vars(owner)[name])
            if isinstance(layer, FunctionType) and is_of_sdk(layer.__globals__.get("__name__"))
        ],
        lambda: filter(is_it, known),
        # The typing module keeps the overloads, which stand above the function itself.
        lambda: sorted(filter(is_it, gc.get_objects()), key=_line_of, reverse=True),
        # Which leaves out what there was when the program called `gc.freeze`.
        lambda: filter(is_it, held_by(vars(owner)[name])),
    )
    for place in places:
        for function in place():
            return function if keyword is None or _takes_argument(function, keyword) else None
    return None


def _line_of(function: FunctionType) -> int:
    return function.__code__.co_firstlineno


def _takes_argument(function: Callable[..., Any], keyword: str) -> bool:
    return keyword in inspect.signature(function).parameters


# --- streams ---------------------------------------------------------------------------


def is_sdk_stream(stream_cls: Any) -> bool:
    """Whether this is a stream class of the SDK itself, whose instances we know."""
    kind = get_origin(stream_cls) or stream_cls
    return getattr(kind, "__name__", None) in ("Stream", "AsyncStream") and is_of_sdk(
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
    return _sdk_version() < "3"


def is_error_sent_by_server(error: BaseException) -> bool:
    """Whether an error is one that the server has sent in a stream."""
    kind = type(error)
    # Those of connections and of whole responses are of subclasses.
    return kind.__name__ == "APIError" and is_of_sdk(kind.__module__)


# --- websockets ------------------------------------------------------------------------


def socket_methods(manager: type) -> tuple[str, ...]:
    """The methods by which a connection manager opens its socket.

    The first of the table also opens it again. Without it, there are those that enter the
    manager, which are one function.
    """
    if OPEN_SOCKET.name in vars(manager):
        return (OPEN_SOCKET.name,)
    if _takes_argument(manager, "on_reconnecting"):
        OPEN_SOCKET.report_missing()
    return tuple(name for name in ("__enter__", "__aenter__", "enter") if name in vars(manager))


def socket_of(opened: Any) -> Any:
    """The socket that was opened, or that a connection stands on; None where it has none."""
    if hasattr(opened, SOCKET.name):
        return getattr(opened, SOCKET.name)
    if is_of_sdk(type(opened).__module__):
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
    if SOCKET_MODEL.name not in private and _takes_argument(type(manager), "model"):
        SOCKET_MODEL.report_missing()
    return private.get(SOCKET_CLIENT.name), private.get(SOCKET_MODEL.name)


def is_raised_by_helper(error: BaseException, response: Any) -> bool:
    """Whether a streaming helper has raised an error over what it had read of a response.

    Args:
        error: The error, on its way to the caller.
        response: The HTTP response, which the helper holds.
    """
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        if str(frame.f_globals.get("__name__")).startswith("openai.lib.streaming"):
            held = getattr(frame.f_locals.get("self"), "__dict__", {})
            if any(value is response for value in held.values()):
                return True
        traceback = traceback.tb_next
    return False
