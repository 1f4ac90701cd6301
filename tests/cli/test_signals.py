"""A stop signal is never lost, whichever thread the kernel gives it to, and whenever it comes."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import signal, threading, time
from hostd.cli.signals import on_stop_signal
wait = on_stop_signal()
def tell():
    time.sleep(0.3)
    {how}
if {before}:
    signal.raise_signal({number})
else:
    threading.Thread(target=tell, daemon=True).start()
wait()
print("told")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("before", [True, False])
def test_it_is_noticed_though_another_thread_gets_it(number, before):
    how = f"signal.pthread_kill(threading.get_ident(), {int(number)}); time.sleep(20)"
    script = SCRIPT.format(how=how, before=before, number=int(number))
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert ran.stdout == "told\n", ran.stderr
