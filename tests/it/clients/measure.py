"""Runs a command to its end and prints what it cost, as one JSON document.

Its stdout and stderr are dropped; the document has its exit code, the CPU seconds it
used and the most memory it held.
"""

import json
import resource
import subprocess
import sys

done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=120)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(json.dumps({
    "code": done.returncode,
    "cpu_seconds": usage.ru_utime + usage.ru_stime,
    "max_rss_kib": usage.ru_maxrss,
    "stderr": done.stderr.decode(errors="replace"),
}))
