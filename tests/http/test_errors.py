"""From errors to answers."""

import logging

import falcon
import falcon.testing
import pytest

from micromdm_py import errors
from micromdm_py.errors import MalformedField, MdmError
from micromdm_py.http.errors import register_errors
from tests.http.bench import JSON

TEXT = "something is wrong with <it>"
API = {
    "MalformedRequest": 400,
    "MalformedField": 400,
    "Unauthenticated": 401,
    "NoCredentials": 401,
    "CommandDone": 409,
    "Forbidden": 403,
    "NotFound": 404,
    "Conflict": 409,
    "TokenDead": 409,
    "TooLarge": 413,
    "UpstreamFailed": 502,
    "UpstreamBusy": 503,
    "Busy": 503,
    "NotConfigured": 503,
    "StorageUnavailable": 503,
}
DEVICE = {
    "Unenroll": 401,
    "UserChannelDeclined": 410,
    "TooLarge": 413,
    "Busy": 503,
    "StorageUnavailable": 503,
}
NOT_ANSWERED = {"MdmError", "StartupError", "StoreInUse", "in_words"}
NAMES = [name for name in errors.__all__ if name not in NOT_ANSWERED]


class Raises:
    def __init__(self, error: Exception) -> None:
        self._error = error

    def on_put(self, _req: falcon.Request, resp: falcon.Response) -> None:
        resp.data, resp.content_type = b"half an answer", "text/html"
        raise self._error


def answer(path: str, error: Exception) -> falcon.testing.Result:
    app = falcon.App[falcon.Request, falcon.Response]()
    register_errors(app)
    app.add_route(path, Raises(error))
    return falcon.testing.TestClient(app).simulate_put(path)


def example(name: str) -> MdmError:
    kind = getattr(errors, name)
    return MalformedField("field", "reason") if kind is MalformedField else kind(TEXT)


@pytest.mark.parametrize("name", NAMES)
def test_the_api_answers_json_with_one_key(name: str) -> None:
    error = example(name)
    told = answer("/v1/x", error)
    assert told.status_code == API.get(name, 500)
    assert told.headers["content-type"] == JSON
    assert list(told.json) == ["error"]
    assert (told.json["error"] == str(error)) == (name in API), "an error of other routes is not shown"
    assert ("retry-after" in told.headers) == (told.status_code == 503)


def test_markup_in_a_text_is_escaped() -> None:
    assert b"\\u003cit\\u003e" in answer("/v1/x", errors.NotFound(TEXT)).content


@pytest.mark.parametrize("path", ["/mdm/checkin", "/mdm/connect"])
@pytest.mark.parametrize("name", NAMES)
def test_devices_read_an_empty_body_and_401_only_when_blocked(path: str, name: str) -> None:
    told = answer(path, example(name))
    assert told.status_code == DEVICE.get(name, 500)
    assert told.content == b""
    assert "www-authenticate" not in told.headers


@pytest.mark.parametrize("path", ["/mdm/enroll", "/ota/enroll", "/scep"])
@pytest.mark.parametrize("name", NAMES)
def test_enrollment_reads_text(path: str, name: str) -> None:
    error = example(name)
    told = answer(path, error)
    assert told.status_code == DEVICE.get(name, 500)
    assert told.headers["content-type"] == "text/plain; charset=utf-8"
    assert told.headers["x-content-type-options"] == "nosniff"
    assert told.text == f"{error}\n"


@pytest.mark.parametrize("path", ["/v1/x", "/mdm/connect", "/scep", "/"])
def test_a_fault_of_the_program_tells_nothing_but_is_logged(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        told = answer(path, RuntimeError("password of the store"))
    assert told.status_code == 500
    assert b"password" not in told.content
    assert (told.content == b"") == (path == "/mdm/connect")
    assert "RuntimeError: password of the store" in caplog.text


def test_every_refusal_of_a_device_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    answer("/mdm/connect", errors.IdentityMismatch("bound to another"))
    assert "bound to another" in caplog.text


def test_an_api_error_of_ours_is_logged_and_a_caller_s_is_not(caplog: pytest.LogCaptureFixture) -> None:
    answer("/v1/x", errors.StorageUnavailable("disk full"))
    answer("/v1/x", errors.NotFound("no such thing"))
    assert "disk full" in caplog.text
    assert "no such thing" not in caplog.text


def test_the_wait_that_a_service_outside_asks_for_is_passed_on() -> None:
    assert answer("/v1/x", errors.UpstreamBusy(TEXT, 77)).headers["retry-after"] == "77"
    assert answer("/v1/x", errors.UpstreamBusy(TEXT)).headers["retry-after"] == "5"
