#!/usr/bin/env python3
"""A whole driver in Python, with nothing to install: each line that is appended to a file becomes an event.

dispatch create eventdrivertype lines ./lines.py
dispatch create eventdriver lines --set file=/var/log/doors.txt
"""

import argparse
import base64
import json
import os
import sys
import threading
import time
import urllib.error
import urllib.request

SINK = os.environ["K_SINK"]
TOKEN = os.environ["DISPATCH_TOKEN"]
SOURCE = "/lines/" + os.environ.get("DISPATCH_DRIVER_NAME", "alone")
AGAIN = {404, 408, 409, 429}


def stop_with_the_hub():
    """Standard input ends when the hub is gone."""
    while sys.stdin.buffer.read1(4096):
        pass
    os._exit(0)


def ask(path, body=None, headers=None):
    """Asks the hub until its answer means something; never sooner again than it said."""
    headers = {"authorization": "Bearer " + TOKEN, **(headers or {})}
    while True:
        after = 1.0
        try:
            with urllib.request.urlopen(urllib.request.Request(SINK + path, body, headers), timeout=30) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            if 400 <= error.code < 500 and error.code not in AGAIN:
                print(f"the hub refuses it for ever: {error.code} {error.read(300)!r}", file=sys.stderr)
                return None
            wait = error.headers.get("retry-after") or ""
            after = float(wait) if wait.isdigit() else after
        except OSError as error:
            print(f"the hub does not answer: {error}", file=sys.stderr)
        time.sleep(after)


def emit(number, text):
    """Id and source are made of what happened and not of now: sent twice it is still one event."""
    event = {"specversion": "1.0", "id": str(number), "source": SOURCE, "type": "example.line", "data": {"line": text}}
    headers = {
        "content-type": "application/cloudevents+json",
        # Stored with the event or not at all.
        "dispatch-checkpoint": base64.b64encode(str(number).encode()).decode(),
    }
    ask("", json.dumps(event).encode(), headers)


def lines(path, done):
    """The lines behind the first `done`, for ever; a line that is not finished is waited for."""
    while not os.path.exists(path):
        time.sleep(0.2)
    with open(path, "rb") as file:
        number, rest = 0, b""
        while True:
            part = file.readline()
            rest += part
            if not rest.endswith(b"\n"):
                time.sleep(0.2)
                continue
            number, line, rest = number + 1, rest[:-1], b""
            if number > done:
                yield number, line


def main():
    arguments = argparse.ArgumentParser(allow_abbrev=False)
    arguments.add_argument("--file", required=True)
    arguments.add_argument("--dispatch-api-endpoint", help="for programs of the original; K_SINK says more")
    path = arguments.parse_args().file
    threading.Thread(target=stop_with_the_hub, daemon=True).start()
    done = int(ask("/checkpoint") or 0)
    for number, line in lines(path, done):
        try:
            emit(number, line.decode())
        except UnicodeDecodeError as error:
            print(f"line {number} left out: {error}", file=sys.stderr)


main()
