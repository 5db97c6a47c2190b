from __future__ import annotations

import signal

import pytest

from tests.raie_engine.world import in_another_process

CODE = """
import os, signal, threading, time
from raie.engine.training.workers import uninterrupted

class Notified(BaseException):
    pass

def notify(number, frame):
    raise Notified(number)

signal.signal({number}, notify)
threading.Thread(target=time.sleep, args=(5,), daemon=True).start()  # has not blocked the signal and so may take it
begun = []
try:
    with uninterrupted():
        os.kill(os.getpid(), {number})
        time.sleep(0.2)
        begun.append("workers")
except Notified as notified:
    print(begun, int(notified.args[0]), signal.getsignal({number}) is notify)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals are blocked on POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_comes_while_workers_begin_is_heard_when_they_have_begun(number: signal.Signals) -> None:
    assert in_another_process(CODE.format(number=int(number))).strip() == f"['workers'] {int(number)} True"
