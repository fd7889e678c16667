"""What gateways, tracing tools and applications export of calls."""
