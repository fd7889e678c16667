"""Starts Phoenix with its gRPC port on 127.0.0.1 alone; run by the Python that has Phoenix.

PHOENIX_HOST moves the page and OTLP over HTTP. Up to Phoenix 20 the gRPC receiver listens on
all interfaces whatever is set.
"""

from importlib import import_module
from typing import Any


def main() -> None:
    """Start it, with what the command line says."""
    aio: Any = import_module("grpc.aio")
    make_server = aio.server

    def server_on_loopback(*args: Any, **options: Any) -> Any:
        server = make_server(*args, **options)
        add_port = server.add_insecure_port
        server.add_insecure_port = lambda address: add_port(
            address.replace("[::]", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")
        )
        return server

    aio.server = server_on_loopback
    import_module("phoenix.server.main").main()


if __name__ == "__main__":
    main()
