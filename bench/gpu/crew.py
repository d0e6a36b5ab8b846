"""Processes that run.py asks for figures, each for as long as it may take."""
import json
import os
import select
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))


class Crew:
    """One worker.py at a time, which is replaced when it ends, loses the device, or does not answer."""

    def __init__(self, arguments):
        self.arguments, self.process = arguments, None

    def ask(self, job, seconds):
        """The answer, or {"failed": why there is none}, with "hung" when it did not come."""
        if self.process is None:
            self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "worker.py"), *self.arguments], text=True,
                                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        try:
            print(json.dumps(job), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass   # it has ended; what it said last is the answer
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            self.end()
            return {"failed": f"no answer in {seconds:.0f} s", "hung": True}
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.end()
            return {"failed": f"the process ended with {status}"}
        answer = json.loads(line)
        if answer.pop("lost", False):
            self.end()
        return answer

    def end(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def child(script, arguments, seconds):
    """The answer of a script that prints it as its last line, and why there is none."""
    start = time.monotonic()
    try:
        done = subprocess.run([sys.executable, os.path.join(HERE, script), *arguments], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return None, f"no answer in {time.monotonic() - start:.0f} s"
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or ["no message"])[-1][:200]
    return json.loads(done.stdout.strip().splitlines()[-1]), ""
