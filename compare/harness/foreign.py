"""nginx and haproxy with as many listening ports, for their start alone.

Each is started as a daemon: its first process ends when every port listens, and that
is the moment that counts. What was started is ended by the pid of its own pid file.
"""

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import programs

SETTINGS = {
    "nginx": "one worker process, no access log, `return 204`, backlog 511 (its default)",
    "haproxy": "its default of a thread a core, maxconn 1000, `return status 204`, default backlog",
}
NGINX = """daemon on; worker_processes 1; worker_rlimit_nofile 20000; pid {dir}/pid;
error_log {dir}/error.log;
events {{ worker_connections 19000; }}
http {{ access_log off;
client_body_temp_path {dir}/a; proxy_temp_path {dir}/b; fastcgi_temp_path {dir}/c;
uwsgi_temp_path {dir}/d; scgi_temp_path {dir}/e;
server {{ {listen} return 204; }} }}
"""
HAPROXY = """global
  maxconn 1000
  pidfile {dir}/pid
defaults
  mode http
  timeout client 10s
frontend all
{listen}
  http-request return status 204
"""


def nginx_text(block, directory):
    ports = range(block.port, block.port + block.ports)
    listen = "\n".join(f"listen {at}:{port};" for at in block.addresses() for port in ports)
    return NGINX.format(dir=directory, listen=listen)


def haproxy_text(block, directory):
    last = block.port + block.ports - 1
    listen = "\n".join(f"  bind {at}:{block.port}-{last}" for at in block.addresses())
    return HAPROXY.format(dir=directory, listen=listen)


def commands(name, path, text, directory):
    if name == "nginx":
        return [path, "-p", directory, "-e", f"{directory}/error.log", "-c", text]
    return [path, "-D", "-f", text]


def start_seconds(name, block):
    """From exec until all of the block listens; each endpoint is then connected to."""
    path = programs.foreign(name)
    with tempfile.TemporaryDirectory() as directory:
        os.chmod(directory, 0o755)
        text = Path(directory) / "conf"
        text.write_text((nginx_text if name == "nginx" else haproxy_text)(block, directory))
        began = time.monotonic()
        subprocess.run(commands(name, path, str(text), directory), check=True, timeout=60,
                       stderr=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        pid = int((Path(directory) / "pid").read_text().split()[0])
        try:
            programs.load("touch", None, block, cores=programs.BOTH_CORES)
        finally:
            end(pid)
    return seconds


def end(pid):
    """Ends the daemon and waits until it is gone."""
    os.kill(pid, signal.SIGTERM)
    latest = time.monotonic() + programs.PATIENCE
    while Path(f"/proc/{pid}").exists():
        if time.monotonic() > latest:
            raise RuntimeError(f"{pid} does not end")
        time.sleep(0.02)


def is_there(name):
    return programs.foreign(name) is not None
