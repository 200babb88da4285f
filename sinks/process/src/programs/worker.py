"""Runs one Python function for Dispatch.

Started by the process engine with the path of a Unix-domain socket. Frames on it: a 32-bit big-endian
length, then JSON. The first frame is {"load": {"folder", "handler", "maxResult"}}; every later one is a
function message {"context", "payload"} and is answered with one. Standard output and standard error belong
to the function: they are flushed before an answer is sent, so that the engine finds there what the call wrote.
"""

import importlib.util
import importlib
import json
import os
import socket
import struct
import sys
import traceback

MAX_MESSAGE = 8 * 1024
MAX_TRACE = 64


class Link:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.connect(path)
        # A child the function forks must not keep the engine waiting for this end.
        os.register_at_fork(after_in_child=self.socket.close)
        self.pending = b""

    def _more(self, size):
        try:
            part = self.socket.recv(size)
        except OSError:
            part = b""
        if not part:
            os._exit(0)
        return part

    def read(self):
        pending = self.pending
        while len(pending) < 4:
            pending += self._more(65536)
        (length,) = struct.unpack_from(">I", pending)
        parts, have = [pending[4:]], len(pending) - 4
        while have < length:
            part = self._more(min(length - have, 1 << 20))
            parts.append(part)
            have += len(part)
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        self.pending = body[length:]
        return body[:length]

    def write(self, body):
        self.socket.sendall(struct.pack(">I", len(body)) + body)


def encode(value):
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8")


def printable(text, limit=MAX_MESSAGE):
    return text.encode("utf-8", "replace").decode("utf-8")[:limit]


def describe(error):
    try:
        return str(error)
    except BaseException:
        return ""


def failure(kind, message, error=None):
    lines = []
    if error is not None:
        try:
            trace = error.__traceback__
            # The first frame is this file's call of the function.
            trace = trace.tb_next if trace is not None and trace.tb_next is not None else trace
            for entry in traceback.format_exception(type(error), error, trace):
                lines.extend(entry.rstrip("\n").split("\n"))
        except BaseException:
            lines = []
    if len(lines) > MAX_TRACE:
        lines = lines[: MAX_TRACE // 2] + ["..."] + lines[-MAX_TRACE // 2 :]
    lines = [printable(line, 1024) for line in lines]
    return encode({"context": {"error": {"type": kind, "message": printable(message), "stacktrace": lines}}, "payload": None})


def load(folder, handler):
    if handler:
        module_name, _, function_name = handler.rpartition(".")
        if not module_name or module_name.startswith("."):
            raise ValueError("%r is not of the form module.function" % handler)
        path = None
    else:
        function_name = "handle"
        (file,) = [n for n in os.listdir(folder) if n != "__pycache__"]
        path = os.path.join(folder, file)
        if not file.endswith(".py"):
            raise ValueError("%r is not a .py file" % file)
        module_name = file[: -len(".py")]
    sys.path.insert(0, folder)
    if path is None:
        module = importlib.import_module(module_name)
    else:
        spec = importlib.util.spec_from_file_location(module_name, path)
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        spec.loader.exec_module(module)
    function = getattr(module, function_name, None)
    if function is None:
        raise ValueError("module %r has no %r" % (module_name, function_name))
    if not callable(function):
        raise ValueError("%r is not a function" % (module_name + "." + function_name))
    return function


def flush():
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass


def call(function, body, max_result):
    try:
        message = json.loads(body)
        context, payload = message["context"], message.get("payload")
    except Exception as error:
        return failure("InputError", "Invalid Input: %s" % describe(error))
    try:
        result = function(context, payload)
    except (ValueError, TypeError) as error:
        return failure("InputError", describe(error), error)
    except Exception as error:
        return failure("FunctionError", describe(error) or type(error).__name__, error)
    except BaseException as error:
        return failure("FunctionError", "the function raised %s(%s)" % (type(error).__name__, describe(error)), error)
    try:
        text = encode(result)
    except Exception as error:
        return failure("FunctionError", "the result cannot be written as JSON: %s" % describe(error))
    if len(text) > max_result:
        return failure("FunctionError", "the result has %d bytes; a result has at most %d" % (len(text), max_result))
    return b'{"context":{"error":null},"payload":' + text + b"}"


def main():
    link = Link(sys.argv[1])
    del sys.argv[1:]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)
    order = json.loads(link.read())["load"]
    try:
        function = load(order["folder"], order["handler"])
        answer = {"ok": True}
    except BaseException as error:
        function = None
        answer = {"error": printable("%s: %s" % (type(error).__name__, describe(error)))}
    flush()
    link.write(encode(answer))
    while function is not None:
        answer = call(function, link.read(), order["maxResult"])
        flush()
        link.write(answer)


main()
