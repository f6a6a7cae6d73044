"""An AWS emulator that checks signatures, their dates (five minutes either way) and inactive keys."""
from .aws import AWS


class MiniStack(AWS):
    name = "ministack"
    program = "ministack"
    arguments = ()
    environment = {"AUTH": "true", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": "{port}"}
    health = "/_ministack/health"
    # It bypasses the checks, so that it serves for nothing but the first user.
    first_key = "test"
