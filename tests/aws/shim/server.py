"""The server: CloudFormation answered here, the rest by moto, all of it through the faults.

    python -m shim [--port N]

prints one line of JSON, `{"url": …}`, once it listens, and ends when its standard input does, so
that it never outlives the test that started it. Tests control it under /_shim/:

    GET    /_shim/left         everything that exists, by kind; empty lists after a clean end
    GET    /_shim/used         what callers were allowed by statements with a Sid, as {arn: [[sid, action]]}
    GET    /_shim/requests     how often each action was asked for, as {"service:Action": n}
    POST   /_shim/faults       adds a fault (faults.py); GET lists, DELETE takes all back
    POST   /_shim/enforcement  {"on": true}: every request must be signed and allowed
    POST   /_shim/reset        ends what is under way and forgets everything

A request with the header x-shim-plaintext counts as one that did not come by TLS.
"""

import argparse
import contextlib
import functools
import hashlib
import io
import json
import logging
import os
import re
import secrets
import socket
import sys
import threading
import time
import traceback
from collections import Counter, OrderedDict
from urllib.parse import parse_qs

import boto3
from botocore.config import Config
from moto.backends import get_backend
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.iam.access_control import PermissionResult
from moto.kinesis.models import KinesisBackend, Stream
from moto.kinesis.utils import decompose_shard_iterator
from moto.s3 import notifications
from moto.s3.models import FakeBucket
from moto.sqs import models as queues
from moto.sqs.models import SQSBackend
from werkzeug.serving import WSGIRequestHandler, make_server

from . import access, boundaries, partial, pools
from .cloudformation import Api
from .faults import FaultError, Faults
from .stacks import Account

INTERNAL = "x-shim-internal"
# In whose name CloudFormation asks: the id of a key.
IN_THE_NAME_OF = "x-shim-in-the-name-of"
KINDS = ("user_pools", "app_clients", "buckets", "queues", "streams", "roles", "users", "policies", "keys", "secrets")
KEYS = re.compile(r"/[\w-]+/\.well-known/jwks\.json")


class Application:
    """The WSGI application."""

    def __init__(self):
        self.faults = Faults()
        self.enforced = False
        self.url = None
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._internal = secrets.token_hex(16)
        self._counted = threading.Lock()
        self._at_once = threading.Lock()
        self._forget()

    def _forget(self):
        self.account = Account(self.client, self.faults)
        self.api = Api(self.account)
        self.requests = Counter()
        self.used = set()

    @functools.cache
    def client(self, service):
        """A client for what CloudFormation does on behalf of a stack: never failed, and refused only what whoever
        asked for the stack may not do, where rights are enforced."""
        client = boto3.client(
            service,
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="internal",
            aws_secret_access_key="internal",
            config=Config(retries={"max_attempts": 1}, max_pool_connections=128, s3={"addressing_style": "path"}),
        )
        client.meta.events.register("before-send", self._sign_as_internal)
        return client

    def _sign_as_internal(self, request, **_):
        request.headers[INTERNAL] = self._internal
        caller = getattr(threading.current_thread(), "caller", None)
        if caller is not None:
            request.headers[IN_THE_NAME_OF] = caller

    def _note(self, caller, action, statements):
        with self._counted:
            self.used.update((caller, statement, action) for statement in statements)

    def __call__(self, environ, start):
        body = _body(environ)
        path = environ["PATH_INFO"]
        if path.startswith("/_shim/"):
            return self._control(path.removeprefix("/_shim/"), environ["REQUEST_METHOD"], body, start)
        headers = _headers(environ)
        if headers.get(INTERNAL) == self._internal:
            return self._in_the_name_of(headers.get(IN_THE_NAME_OF), environ, headers, body, start)
        if KEYS.fullmatch(path) and environ["REQUEST_METHOD"] == "GET":
            # What a pool publishes is for everybody: nobody signs for it.
            return self._publish(environ, start)
        (region, service), action = _scope(environ, headers), _action(environ, headers, body)
        with self._counted:
            self.requests[f"{service}:{action}"] += 1
        fault = self.faults.of_request(service, action)
        effect = fault["effect"] if fault else None
        if effect == "hold":
            self.faults.wait_while_held(fault)
        elif effect == "lose_request":
            return _hang_up(environ, start)
        elif effect == "throttle":
            return _refuse(service, headers, "Throttling", "Rate exceeded", start)
        elif effect == "refuse":
            return _refuse(service, headers, fault["code"], fault.get("message", "injected"), start)
        caller = None
        if self.enforced:
            # Whose account a caller acts in follows from its key alone.
            environ.pop("HTTP_X_MOTO_ACCOUNT_ID", None)
            raw_path, _, query = environ["RAW_URI"].partition("?")
            encrypted = "x-shim-plaintext" not in headers
            try:
                method = environ["REQUEST_METHOD"]
                caller = access.check(method, raw_path, query, headers, body, encrypted, self._note)
            except access.Refused as refused:
                return _refuse(service, headers, refused.code, refused.message, start)
            except Exception:
                # A mistake of the shim's own: the test that met it has shown nothing.
                self.account.broken.append(traceback.format_exc())
                raise
        if service == "cloudformation":
            if region != self.account.region:
                return _refuse(service, headers, "ValidationError", f"there are no stacks here but in {self.account.region}", start)
            status, kind, answer = self.api.answer(body, caller)
            if effect == "lose_answer":
                return _hang_up(environ, start)
            start(f"{status} {'OK' if status == 200 else 'Error'}", [("Content-Type", kind)])
            return [answer]
        # moto looks and then writes, where AWS does both at once: it would replace objects that conditions guard,
        # and give two records of a shard one sequence number, of which it keeps one.
        at_once = service == "kinesis" or service == "s3" and {"if-match", "if-none-match"} & set(headers)
        with self._at_once if at_once else contextlib.nullcontext():
            if effect == "some":
                return self._some(fault, action, environ, body, start)
            if effect == "lose_answer":
                list(self._moto(environ, lambda *_: None))
                return _hang_up(environ, start)
            return self._moto(environ, start)

    def _in_the_name_of(self, caller, environ, headers, body, start):
        """What a stack needs; a creation of before is finished when rights are enforced meanwhile."""
        if self.enforced and caller is not None:
            region, service = _scope(environ, headers)
            raw_path, _, query = environ["RAW_URI"].partition("?")
            method = environ["REQUEST_METHOD"]
            try:
                access.check_for(caller, service, region, method, raw_path, query, headers, body, self._note)
            except access.Refused as refused:
                return _refuse(service, headers, refused.code, refused.message, start)
        return self._moto(environ, start)

    def _some(self, fault, action, environ, body, start):
        """Lets moto take a part of a batch, and answers for all of it."""
        rest, whole = partial.split(action, body, set(fault["entries"]), fault["code"])
        answer = {}
        if rest is not None:
            inner = json.dumps(rest).encode()
            environ["wsgi.input"], environ["CONTENT_LENGTH"] = io.BytesIO(inner), str(len(inner))
            said = []
            answer = json.loads(b"".join(self._moto(environ, lambda status, *_: said.append(status))))
            if not said[0].startswith("200"):
                raise AssertionError(f"moto refused the rest of a batch: {answer}")
        start("200 OK", [("Content-Type", environ.get("CONTENT_TYPE", "application/x-amz-json-1.1"))])
        return [json.dumps(whole(answer)).encode()]

    def _publish(self, environ, start):
        with self._counted:
            self.requests["cognito-idp:keys"] += 1
        fault = self.faults.of_request("cognito-idp", "keys")
        if fault and fault["effect"] == "lose_request":
            return _hang_up(environ, start)
        if fault and fault["effect"] == "hold":
            self.faults.wait_while_held(fault)
        elif fault:
            start("503 Service Unavailable", [("Content-Type", "text/plain")])
            return [b"injected"]
        return self._moto(environ, start)

    def _control(self, name, method, body, start):
        asked = json.loads(body) if body else {}
        answer, status = {}, "200 OK"
        if (method, name) == ("GET", "left"):
            answer = self.left()
        elif (method, name) == ("GET", "used"):
            with self._counted:
                used = sorted(self.used)
            answer = {arn: [[sid, action] for by, sid, action in used if by == arn] for arn, _, _ in used}
        elif (method, name) == ("GET", "requests"):
            answer = dict(self.requests)
        elif (method, name) == ("POST", "faults"):
            try:
                self.faults.add(asked)
            except FaultError as error:
                answer, status = {"error": str(error)}, "400 Bad Request"
        elif (method, name) == ("DELETE", "faults"):
            self.faults.clear()
        elif (method, name) == ("GET", "faults"):
            answer = self.faults.left()
        elif (method, name) == ("POST", "enforcement"):
            self.enforced = bool(asked["on"])
        elif (method, name) == ("POST", "reset"):
            self.reset()
        else:
            status = "404 Not Found"
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def reset(self):
        self.faults.clear()
        self.account.settle()
        self.enforced = False
        BackendDict.reset()
        reset_model_data()
        self._forget()

    def left(self):
        """Everything that exists in any account."""
        found = {"stacks": [stack.name for stack in self.account.live()], "broken": list(self.account.broken)}
        kinds = {kind: [] for kind in KINDS}
        s3 = get_backend("s3")
        for number in list(s3):
            kinds["buckets"] += s3[number]["aws"].buckets
        for kind, service, held in (
            ("queues", "sqs", "queues"), ("streams", "kinesis", "streams"), ("secrets", "secretsmanager", "secrets"),
        ):
            backends = get_backend(service)
            for number in list(backends):
                for region in list(backends[number]):
                    kinds[kind] += list(getattr(backends[number][region], held))
        cognito = get_backend("cognito-idp")
        for number in list(cognito):
            for region in list(cognito[number]):
                held = cognito[number][region].user_pools.values()
                kinds["user_pools"] += [pool.name for pool in held]
                kinds["app_clients"] += [one.extended_config["ClientName"] for pool in held for one in pool.clients.values()]
        iam = get_backend("iam")
        for number in list(iam):
            backend = iam[number]["aws"]
            kinds["roles"] += [role.name for role in backend.get_roles()]
            kinds["users"] += list(backend.users)
            # Not the boundary that client.py makes: like the platform's role it is there before any channel.
            held = [p for p in list(backend.managed_policies.values()) if f"::{number}:" in p.arn]
            kinds["policies"] += [p.name for p in held if (p.path, p.name) != ("/headgate/", "boundary")]
            kinds["keys"] += [key.access_key_id for user in backend.users.values() for key in user.access_keys]
        return {**found, **{kind: sorted(map(str, names)) for kind, names in kinds.items()}}


def _headers(environ):
    headers = {key[5:].replace("_", "-").lower(): value for key, value in environ.items() if key.startswith("HTTP_")}
    for key in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(key):
            headers[key.replace("_", "-").lower()] = environ[key]
    return headers


def _body(environ):
    """Reads the body and puts it back."""
    length = environ.get("CONTENT_LENGTH")
    if length:
        body = environ["wsgi.input"].read(int(length))
    else:
        body = environ["wsgi.input"].read() if environ.get("wsgi.input_terminated") else b""
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _scope(environ, headers):
    """(region, service) that a request is signed for."""
    credential = headers.get("authorization", "").partition("Credential=")[2].split(",")[0]
    credential = credential or parse_qs(environ.get("QUERY_STRING", "")).get("X-Amz-Credential", [""])[0]
    parts = credential.split("/")
    return (parts[2], parts[3]) if len(parts) == 5 else ("", "")


def _action(environ, headers, body):
    if "x-amz-target" in headers:
        return headers["x-amz-target"].split(".", 1)[1]
    if headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        return parse_qs(body.decode()).get("Action", [""])[0]
    return environ["REQUEST_METHOD"]


def _refuse(service, headers, code, message, start):
    """An error in the words of the service's protocol."""
    status = "400 Bad Request" if code == "Throttling" else "403 Forbidden"
    if service == "s3":
        code = {"Throttling": "SlowDown"}.get(code, code)
        status = "503 Slow Down" if code == "SlowDown" else "403 Forbidden"
        kind, text = "application/xml", f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    elif "x-amz-target" in headers:
        code = {"AccessDenied": "AccessDeniedException", "Throttling": "ThrottlingException"}.get(code, code)
        kind, text = headers.get("content-type", "application/x-amz-json-1.1"), json.dumps({"__type": code, "message": message})
        status = "400 Bad Request"
    else:
        kind = "text/xml"
        text = (
            f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
            "<RequestId>shim</RequestId></ErrorResponse>"
        )
    start(status, [("Content-Type", kind)])
    return [text.encode()]


def _hang_up(environ, start):
    """The connection ends without an answer."""
    connection = environ["werkzeug.socket"]
    start("500 Lost", [("Connection", "close")])
    connection.shutdown(socket.SHUT_RDWR)
    return []


class Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def make_environ(self):
        environ = super().make_environ()
        environ["RAW_URI"] = self.path
        return environ


def _correct_moto():
    """The places where moto would decide or say something wrong on its own."""
    # It reads a Deny without its conditions; the decision is access.py's.
    FakeBucket.get_permission = lambda *_: PermissionResult.NEUTRAL
    plain = getattr(notifications, "_get_s3_event")

    def with_version(event_name, bucket, key, notification_id):
        event = plain(event_name, bucket, key, notification_id)
        if bucket.is_versioned:
            for record in event["Records"]:
                record["s3"]["object"]["versionId"] = key.version_id
        return event

    if plain.__name__ != "with_version":
        notifications._get_s3_event = with_version
        _correct_shards()
        _correct_groups()


def _correct_groups():
    """Of a group of a FIFO queue one receiver has messages at a time, in their order, also when several wait for them
    or give some back meanwhile. Each call sees one state of the queues and one time."""
    clock, one_at_a_time = queues.unix_time_millis, threading.RLock()
    moment = threading.local()
    queues.unix_time_millis = lambda: getattr(moment, "now", None) or clock()

    def at_once(plain):
        @functools.wraps(plain)
        def call(*arguments, **named):
            with one_at_a_time:
                before, moment.now = getattr(moment, "now", None), clock()
                try:
                    return plain(*arguments, **named)
                finally:
                    moment.now = before

        return call

    for name in ("send_message", "delete_message_batch", "delete_message", "change_message_visibility_batch",
                 "change_message_visibility", "purge_queue"):
        setattr(SQSBackend, name, at_once(getattr(SQSBackend, name)))
    plain = SQSBackend.receive_message

    @at_once
    def look(backend, queue_name, *arguments):
        queue = backend.get_queue(queue_name)
        # moto asks each message by itself whether its time is over, and frees its group with the first.
        queue._pending_messages = {message for message in queue.pending_messages if not message.visible}
        return plain(backend, queue_name, *arguments)

    def receive(backend, queue_name, count, wait_seconds_timeout, visibility_timeout, message_attribute_names=None):
        deadline = time.monotonic() + wait_seconds_timeout
        while True:
            found = look(backend, queue_name, count, 0, visibility_timeout, message_attribute_names)
            if found or time.monotonic() >= deadline:
                return found
            time.sleep(0.05)

    SQSBackend.receive_message = receive


def _correct_shards():
    """Records go into open shards and stay there, and a closed shard that is read to its end says so."""
    split, merge, read = Stream.split_shard, Stream.merge_shards, KinesisBackend.get_records

    def of_key(stream, partition_key, explicit_hash_key):
        number = int(explicit_hash_key or hashlib.md5(partition_key.encode()).hexdigest(), 10 if explicit_hash_key else 16)
        shards = [shard for shard in list(stream.shards.values()) if shard.is_open]
        return next(shard for shard in shards if shard.starting_hash <= number <= shard.ending_hash)

    def keeping(change):
        def changed(stream, *shards):
            kept = {name: shard.records for name, shard in stream.shards.items()}
            for shard in stream.shards.values():
                shard.records = OrderedDict()
            try:
                return change(stream, *shards)
            finally:
                for name, records in kept.items():
                    stream.shards[name].records = records

        return changed

    def to_the_end(backend, stream_arn, shard_iterator, limit):
        stream_name, shard_id, _ = decompose_shard_iterator(shard_iterator)
        shard = backend.describe_stream(stream_arn=stream_arn, stream_name=stream_name).get_shard(shard_id)
        is_open = shard.is_open
        following, records, behind = read(backend, stream_arn, shard_iterator, limit)
        at_the_end = int(decompose_shard_iterator(following)[2]) >= shard.get_max_sequence_number()
        return (following if is_open or not at_the_end else None), records, behind

    Stream.split_shard, Stream.merge_shards, Stream.get_shard_for_key = keeping(split), keeping(merge), of_key
    KinesisBackend.get_records = to_the_end


def listen(port=0):
    """(application, server) on a free port; `serve_forever` is the caller's."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    _correct_moto()
    boundaries.complete()
    pools.complete()
    application = Application()
    server = make_server("127.0.0.1", port, application, threaded=True, request_handler=Handler)
    application.url = f"http://127.0.0.1:{server.server_port}"
    return application, server


def main():
    parser = argparse.ArgumentParser(prog="shim", description="An account of AWS for tests.")
    parser.add_argument("--port", type=int, default=0)
    application, server = listen(parser.parse_args().port)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"url": application.url}), flush=True)
    sys.stdin.read()
    # Held operations must not keep the process alive.
    os._exit(0)
