"""An S3 server on this machine, in a process of its own: moto behind a middleware that is slow, or refuses, as asked.

``python bucket.py SECONDS`` prints its address, and adds so much latency to each request. Its moods are objects of the
bucket ``moods``: ``refuse`` (a prefix of paths that answer 403), ``expire`` (the number of further requests before
tokens expire), ``read-only`` (a bucket that takes no writes), ``many`` (the number of keys that are listed).
"""

import argparse
import os
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from urllib.parse import parse_qs

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIAlocal0815",
    "AWS_SECRET_ACCESS_KEY": "secret-of-tests",
    "AWS_REGION": "us-east-1",
}
_ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>"


class Moody:
    """A WSGI application around another one."""

    def __init__(self, app, latency):
        self.app = app
        self.latency = latency
        self.moods = {}
        self.lock = threading.Lock()

    def __call__(self, environ, start):
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if path.startswith("/moods/"):
            body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
            self.moods[path.removeprefix("/moods/")] = body
            start("200 OK", [("Content-Length", "0")])
            return [b""]
        time.sleep(self.latency)
        if self.moods.get("many") and "list-type=2" in environ["QUERY_STRING"]:  # moto takes minutes to list so many
            body = page(environ["QUERY_STRING"], int(self.moods["many"])).encode()
            start("200 OK", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        if error := self.error(path, method):
            body = _ERROR.format(code=error[0], text=error[1]).encode()
            start("403 Forbidden", [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        return self.app(environ, start)

    def error(self, path, method):
        with self.lock:
            if self.moods.get("refuse") and path.startswith(self.moods["refuse"]):
                return "AccessDenied", "Access Denied"
            if self.moods.get("read-only") and path.startswith(self.moods["read-only"]) and method in ("PUT", "POST"):
                return "AccessDenied", "Access Denied"
            if self.moods.get("expire"):
                self.moods["expire"] = str(int(self.moods["expire"]) - 1)
                if int(self.moods["expire"]) < 0:
                    self.moods["expire"] = "0"
                    return "ExpiredToken", "The provided token has expired."
        return None


def page(query, number):
    """A thousand of so many keys, from the continuation token on."""
    asked = {name: values[0] for name, values in parse_qs(query).items()}
    first, prefix = int(asked.get("continuation-token", 0)), asked.get("prefix", "")
    last = min(first + 1000, number)
    entry = "<Contents><Key>{}{:06}.png</Key><Size>7</Size><ETag>&quot;{:032x}&quot;</ETag></Contents>"
    entries = "".join(entry.format(prefix, i, i) for i in range(first, last))
    more = f"<NextContinuationToken>{last}</NextContinuationToken>" if last < number else ""
    truncated = "true" if more else "false"
    return f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{more}{entries}</ListBucketResult>"


def main(latency):
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = Moody(DomainDispatcherApplication(create_backend_app), latency)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


@contextmanager
def bucket_server(latency=0.0):
    """Run the server; yield its address."""
    process = subprocess.Popen(
        [sys.executable, __file__, str(latency)], stdout=subprocess.PIPE, env=os.environ | ENVIRONMENT, text=True
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def mood(address, name, value=""):
    """Set a mood of the server."""
    import urllib.request

    urllib.request.urlopen(urllib.request.Request(f"{address}/moods/{name}", value.encode(), method="PUT")).close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Run an S3 server on this machine.")
    parser.add_argument("seconds", type=float, help="latency that is added to each request")
    main(parser.parse_args().seconds)
