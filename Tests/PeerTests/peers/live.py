"""Real servers for the unit tests: `python -m peers.live KIND` starts one and prints where it is; each line of input makes
a subject whose keys may be turned over, and prints it; the end of the input ends the server."""
import json
import pathlib
import sys
import tempfile


def postgresql(folder):
    from .postgresql import PostgreSQL
    server = PostgreSQL()
    places = {"port": str(server.port), "caFile": str(server.ca), "keyturn": server.admin_password}
    return server, places, lambda: {"users": server.add_roles(2)}


def redis(folder):
    from .redis import Redis
    server = Redis()
    places = {"address": server.tls_address, "caFile": str(server.ca), "keyturn": server.admin_password}
    return server, places, lambda: {"users": [server.add_user()]}


def aws(folder):
    import uuid
    from .aws import AWS
    server = AWS(folder)
    places = {"address": server.endpoint, "keyId": server.key_id, "keyturn": server.secret_key}

    def user():
        name = f"u{uuid.uuid4().hex[:10]}"
        server.add_user(name)
        return {"users": [name]}
    return server, places, user


def main():
    with tempfile.TemporaryDirectory(prefix="keyturn-live-") as folder:
        server, places, subject = {"postgresql": postgresql, "redis": redis, "aws": aws}[sys.argv[1]](
            pathlib.Path(folder))
        try:
            print(json.dumps(places), flush=True)
            for _ in sys.stdin:
                print(json.dumps(subject()), flush=True)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
