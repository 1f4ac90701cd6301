"""A mail server and a web server on this machine, which answer as they are told."""

import json
import socketserver
import threading
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Threaded:
    def __enter__(self):
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def port(self):
        return self.server.server_address[1]


class MailServer(_Threaded):
    """As much of SMTP as a client without TLS needs; `answer` is what DATA is answered with. While `gate` is shut, nothing is said."""

    def __init__(self):
        self.answer = "250 taken"
        self.gate = threading.Event()
        self.gate.set()
        self.mails = []
        kit = self

        class Handler(socketserver.StreamRequestHandler):
            def say(self, text):
                self.wfile.write(f"{text}\r\n".encode())

            def handle(self):
                kit.gate.wait(60)
                self.say("220 ready")
                while line := self.rfile.readline():
                    verb = line.split()[0].upper() if line.split() else b""
                    if verb == b"DATA":
                        self.say("354 go on")
                        lines = []
                        while (text := self.rfile.readline()) not in (b".\r\n", b""):
                            lines.append(text.removeprefix(b"."))
                        if kit.answer.startswith("2"):
                            kit.mails.append(message_from_bytes(b"".join(lines), policy=default))
                        self.say(kit.answer)
                    elif verb == b"QUIT":
                        self.say("221 bye")
                        return
                    else:
                        self.say("250 fine")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)


class HookServer(_Threaded):
    """Takes POSTs and answers with `status`. While `gate` is shut, it does not answer."""

    def __init__(self):
        self.status = 200
        self.gate = threading.Event()
        self.gate.set()
        self.bodies = []
        self.headers = []
        kit = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                kit.gate.wait(60)
                kit.headers.append(dict(self.headers))
                kit.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(kit.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
