from __future__ import annotations

import signal

import pytest

from tests.raie_engine.world import in_another_process

CODE = """
import os, signal, threading, time
from raie.engine.training.workers import uninterrupted

class Told(BaseException):
    pass

def tell(number, frame):
    raise Told(number)

signal.signal({number}, tell)
threading.Thread(target=time.sleep, args=(5,), daemon=True).start()  # has not blocked the signal and so may take it
begun = []
try:
    with uninterrupted():
        os.kill(os.getpid(), {number})
        time.sleep(0.2)
        begun.append("workers")
except Told as told:
    print(begun, int(told.args[0]), signal.getsignal({number}) is tell)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="signals are blocked on POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_comes_while_workers_begin_is_heard_when_they_have_begun(number: signal.Signals) -> None:
    assert in_another_process(CODE.format(number=int(number))).strip() == f"['workers'] {int(number)} True"
