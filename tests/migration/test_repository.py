"""What blueprints need of the file repository."""

from pathlib import Path

import pytest

from micromdm_py.migration.report import Report
from micromdm_py.migration.repository import check_repository

HOST = "https://mdm.example.com"
MANIFEST = (
    "<plist><dict><key>items</key><array><dict><key>assets</key><array><dict><key>url</key>"
    f"<string>{HOST}/repo/sub/tool.pkg</string></dict></array></dict></array></dict></plist>"
)


def warnings(folder: Path | None, *urls: str) -> list[str]:
    report = Report("")
    check_repository(urls, folder, report)
    return report.warnings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "tool.plist").write_text(MANIFEST)
    (tmp_path / "sub/tool.pkg").write_bytes(b"pkg")
    return tmp_path


def test_nothing_is_said_when_all_is_there(folder: Path) -> None:
    assert warnings(folder, f"{HOST}/repo/tool.plist", "https://cdn.example.com/other.plist") == []
    assert warnings(None, "https://cdn.example.com/other.plist") == []
    assert warnings(None) == []


def test_missing_manifests_and_packages_are_named(folder: Path) -> None:
    (folder / "sub/tool.pkg").unlink()
    assert warnings(folder, f"{HOST}/repo/tool.plist", f"{HOST}/repo/my%20app.plist") == [
        f"{folder} has no sub/tool.pkg, which a blueprint needs",
        f"{folder} has no my app.plist, which a blueprint needs",
    ]


def test_the_flag_is_asked_for_once(folder: Path) -> None:
    (line,) = warnings(None, f"{HOST}/repo/a.plist", f"{HOST}/repo/a.plist", f"{HOST}/repo/b.plist")
    assert line.startswith("blueprints name 2 manifests")


@pytest.mark.parametrize(
    "url", ["/repo/../secret", "/repo//etc/passwd", "/repo/", "/repo", "//[", "/repo/a%00b", ""]
)
def test_addresses_that_lead_elsewhere_are_left_alone(folder: Path, url: str) -> None:
    assert warnings(folder, HOST + url, url) == []


@pytest.mark.parametrize("content", [b"", b"nonsense", b"<plist><dict/></plist>", MANIFEST.encode()[:-40]])
def test_manifests_that_cannot_be_read_are_left_alone(folder: Path, content: bytes) -> None:
    (folder / "tool.plist").write_bytes(content)
    assert warnings(folder, f"{HOST}/repo/tool.plist") == []
