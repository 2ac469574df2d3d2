"""Serves moto's SQS on the port given, as strict as SQS itself where moto is not.

- A step is whole: moto's queues are plain lists that its threads change side by side, which loses
  messages and hands one to two receivers.
- A long poll looks anew each time: moto's remembers which groups were in flight when it began.
- Only the handle of the last receive does anything, and past its time it is not in flight.

And quicker: moto asks for the time of day, slowly, once for each message in the queue, for each one it
hands out.
"""

import logging
import sys
import threading
import time

from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from moto.sqs import models
from moto.sqs.exceptions import ReceiptHandleIsInvalid
from moto.sqs.models import Queue, SQSBackend
from werkzeug.serving import run_simple

STILL = None


def now():
    return time.time() if STILL is None else STILL


models.unix_time = now
models.unix_time_millis = lambda: now() * 1000
SQSBackend.is_message_valid_based_on_retention_period = lambda self, queue_name, message: (
    self.get_queue(queue_name).message_retention_period + message.sent_timestamp / 1000
    > time.time()
)

STEP = threading.RLock()
POLL_SECONDS = 0.01


def whole(name):
    step = getattr(SQSBackend, name)

    def locked(*args, **kwargs):
        with STEP:
            return step(*args, **kwargs)

    setattr(SQSBackend, name, locked)


for name in ("create_queue", "send_message", "send_message_batch", "delete_message",
             "delete_message_batch", "change_message_visibility", "purge_queue",
             "change_message_visibility_batch", "get_queue_attributes"):
    whole(name)

look = SQSBackend.receive_message


def receive(self, queue_name, count, wait_seconds_timeout, visibility_timeout,
            message_attribute_names=None):
    global STILL
    end = time.monotonic() + wait_seconds_timeout
    while True:
        with STEP:
            # One moment for all: a message that is hidden until the moment between its look and the
            # next one's would be overtaken by the next of its group.
            STILL = time.time()
            try:
                # Those whose time is over, all at once: moto asks for each in turn whether others of its
                # group are in flight, and so gives out the last of them first.
                queue = self.get_queue(queue_name)
                queue._pending_messages = {m for m in queue.pending_messages if not m.visible}
                found = look(self, queue_name, count, 0, visibility_timeout, message_attribute_names)
            finally:
                STILL = None
        if found or time.monotonic() >= end:
            return found
        time.sleep(POLL_SECONDS)


SQSBackend.receive_message = receive


def named(queue, handle):
    """The message this handle was given for, and whether it is its last one."""
    for message in queue._messages:
        if message.receipt_handle == handle:
            return message, True
        if handle in message._old_receipt_handles:
            return message, False
    return None, True


delete = Queue.delete_message


def delete_latest(self, receipt_handle):
    message, latest = named(self, receipt_handle)
    if message is not None:
        if self.fifo_queue and (message.visible or not latest):
            raise ReceiptHandleIsInvalid()
        if not latest:
            return
    delete(self, receipt_handle)


Queue.delete_message = delete_latest

change = SQSBackend.change_message_visibility


def change_latest(self, queue_name, receipt_handle, visibility_timeout):
    message, latest = named(self.get_queue(queue_name), receipt_handle)
    if message is None or message.visible or not latest:
        raise ReceiptHandleIsInvalid()
    change(self, queue_name, receipt_handle, visibility_timeout)


SQSBackend.change_message_visibility = change_latest


class Handler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"


logging.getLogger("werkzeug").setLevel(logging.ERROR)
app = DomainDispatcherApplication(create_backend_app)
run_simple("127.0.0.1", int(sys.argv[1]), app, threaded=True, request_handler=Handler)
