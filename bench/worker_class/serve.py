"""A bare Falcon application under one of the worker classes: KIND PORT FOLDER WORKERS THREADS."""

import sys
import threading
from types import SimpleNamespace

import falcon

from micromdm_py import lead
from micromdm_py.server import run


def build_app(_config: object) -> falcon.App:
    """Make the application: PUT /connect, GET /wait until GET /go of the same process."""
    go = threading.Event()

    class Connect:
        def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
            req.env["wsgi.input"].read()
            resp.data = b"ok"

    class Wait:
        def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
            lead.give_up()
            go.wait(60)
            resp.data = b"waited"

    class Go:
        def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
            go.set()
            resp.data = b"gone"

    app = falcon.App()
    app.add_route("/connect", Connect())
    app.add_route("/wait", Wait())
    app.add_route("/go", Go())
    return app


def gunicorn(kind: str, port: int, workers: int, threads: int) -> None:
    """Serve with one of gunicorn's own classes."""
    from gunicorn.app.base import BaseApplication

    class Application(BaseApplication):
        def load_config(self) -> None:
            settings = {
                "bind": f"127.0.0.1:{port}", "workers": workers, "threads": threads, "worker_class": kind,
                "worker_connections": 5000, "keepalive": 60, "control_socket_disable": True,
            }  # fmt: skip
            for name, value in settings.items():
                self.cfg.set(name, value)

        def load(self) -> falcon.App:
            return build_app(None)

    Application().run()


def main() -> None:
    """Serve until told to stop."""
    kind, port, folder, workers, threads = sys.argv[1:]
    if kind != "own":
        gunicorn(kind, int(port), int(workers), int(threads))
        return
    config = SimpleNamespace(
        config_path=folder, http_addr=f"127.0.0.1:{port}", tls=False, tls_cert="", tls_key="",
        disable_redirect=True, workers=int(workers), threads=int(threads),
    )  # fmt: skip
    run(config, build_app=build_app, run_courier=lambda _c, stop: stop.wait(), prepare=lambda _c: None)


if __name__ == "__main__":
    main()
