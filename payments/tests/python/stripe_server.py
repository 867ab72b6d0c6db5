"""localstripe, a Stripe-speaking server of another project, on a free port of the loopback interface.

Prints its port, and ends when its standard input does. Keeps nothing on disk.
"""

import os
import socket
import sys
import threading

from aiohttp import web
from localstripe import resources, server


def end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    resources.Store.dump_to_disk = lambda self: None
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    print(listener.getsockname()[1], flush=True)
    threading.Thread(target=end_with_input, daemon=True).start()
    web.run_app(server.app, sock=listener, print=None, access_log=None)


main()
