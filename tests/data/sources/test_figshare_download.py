"""`data download figshare` against a local server that plays doi.org, figshare's API and its files.

pooch asks fixed addresses, so requests' last step is led to the server; all above it is real.
"""

import hashlib
import io
import json
import re
import signal
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from image_folders import data_command, python
from made_sources import write_folds, write_mat

from src.common.errors import InputError
from src.data.sources import read_source
from src.data.sources.figshare_download import DOI, NAME, download_figshare

LEAD = """
import requests.adapters, sys
from urllib.parse import urlsplit
def lead(base):
    send = requests.adapters.HTTPAdapter.send
    def led(self, request, **options):
        asked = request.url
        request.url = f"{base}/{asked.split('://', 1)[1]}"
        response = send(self, request, **{**options, "proxies": {}})
        request.url = response.url = asked
        return response
    requests.adapters.HTTPAdapter.send = led
"""


@pytest.fixture
def files(tmp_path):
    """Return name -> bytes of two archives of slices and of the folds; the archives are of 3 MB."""
    folder = tmp_path / "made"
    folder.mkdir()
    write_folds(folder / "cvind.mat", 4)
    found = {"cvind.mat": (folder / "cvind.mat").read_bytes(), "README.txt": b"read me"}
    for numbers in ((1, 2), (3, 4)):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for number in numbers:
                write_mat(folder / f"{number}.mat", number, f"10{number}", 1)
                archive.write(folder / f"{number}.mat", f"../../deep/{number}.mat")
            archive.writestr("notes.txt", bytes(3_000_000))
        found[f"brainTumorDataPublic_{numbers[0]}-{numbers[1]}.zip"] = packed.getvalue()
    return found


@pytest.fixture
def server(files, monkeypatch):
    """Serve figshare on this machine; `.asked` lists (file, Range), `.sums` may be falsified."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            pass

        def do_GET(self):
            path = self.path.lstrip("/")
            if path.startswith("doi.org/"):
                self.send_response(302)
                self.send_header("Location", "https://figshare.com/articles/dataset/x/1512427/5")
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif path.startswith("figshare.com/"):
                self.answer(b"<html>")
            elif path.startswith("api.figshare.com/v2/articles?doi="):
                assert path.endswith(DOI)
                self.answer(b'[{"id": 1512427}]')
            elif path == "api.figshare.com/v2/articles/1512427/versions/5":
                listing = [
                    {
                        "name": name,
                        "computed_md5": httpd.sums.get(name) or hashlib.md5(content).hexdigest(),
                        "download_url": f"https://ndownloader.figshare.com/files/{name}",
                    }
                    for name, content in files.items()
                ]
                self.answer(json.dumps({"files": listing}).encode())
            else:
                self.send_file(path.rpartition("/")[2])

        def send_file(self, name):
            asked = self.headers.get("Range")
            httpd.asked.append((name, asked))
            if httpd.status:
                self.answer(b"", httpd.status)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
            content = files[name][start:]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            for at in range(0, len(content), 1 << 18):
                self.wfile.write(content[at : at + (1 << 18)])
                time.sleep(httpd.pause)

        def answer(self, content, status=200):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.asked, httpd.sums, httpd.pause, httpd.status = [], {}, 0.0, 0
    httpd.base = f"http://127.0.0.1:{httpd.server_port}"
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    import requests.adapters

    monkeypatch.setattr(
        requests.adapters.HTTPAdapter, "send", requests.adapters.HTTPAdapter.send
    )  # put back afterwards
    scope = {}
    exec(LEAD, scope)
    scope["lead"](httpd.base)
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def test_the_slices_come_checked_and_unpacked_where_the_reader_reads(server, tmp_path, capsys):
    out = tmp_path / "out"
    data_command("download", "figshare", "--out", out)
    assert [path.name for path in out.iterdir()] == [NAME]
    slices = read_source(out / NAME)
    assert [image.name for image in slices] == ["1", "2", "3", "4"]
    assert [image.fold for image in slices] == [1, 2, 3, 4]
    names = {path.name for path in (out / NAME).iterdir()}
    assert names == {"1.mat", "2.mat", "3.mat", "4.mat", "cvind.mat", "source.json"}
    assert json.loads((out / NAME / "source.json").read_text()) == {"source": f"doi:{DOI}"}
    assert "4 slices of 4 patients" in capsys.readouterr().out
    fetched = len(server.asked)
    assert download_figshare(out) == out / NAME and len(server.asked) == fetched == 3


def test_killed_in_the_middle_it_goes_on_from_the_last_byte(server, tmp_path, files):
    server.pause = 0.15
    out = tmp_path / "out"
    code = (
        LEAD
        + "lead(sys.argv[2])\nfrom src.data.sources.figshare_download import download_figshare\n"
    )
    code += "from pathlib import Path\ndownload_figshare(Path(sys.argv[1]))"
    name = "brainTumorDataPublic_3-4.zip"
    process = python(code, out, server.base)
    part = out / f".{NAME}.parts" / f"{name}.part"
    limit = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size > 500_000):
        assert process.poll() is None and time.monotonic() < limit, process.communicate()
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    had = part.stat().st_size
    assert 0 < had < len(files[name]) and not (out / NAME).exists()
    server.pause, server.asked[:] = 0.0, []
    assert len(read_source(download_figshare(out))) == 4
    # What was whole is not asked for again; what was cut off, from its last byte; then the rest.
    assert server.asked == [(name, f"bytes={had}-"), ("cvind.mat", None)]


def test_a_wrong_checksum_is_refused(server, tmp_path):
    server.sums["cvind.mat"] = "0" * 32
    with pytest.raises(InputError, match="does not have the checksum that figshare publishes"):
        download_figshare(tmp_path / "out")
    assert not (tmp_path / "out" / NAME).exists()
    assert not (tmp_path / "out" / f".{NAME}.parts" / "cvind.mat").exists()


def test_an_answer_that_is_no_file_is_refused(server, tmp_path):
    server.status = 202  # what figshare's guard answers to programs at times
    with pytest.raises(InputError, match=rf"figshare answered 202 .*https://doi.org/{DOI}"):
        download_figshare(tmp_path / "out")


def test_offline_it_says_what_to_do(tmp_path, monkeypatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    from src.__main__ import main

    assert main(["data", "download", "figshare", "--out", str(tmp_path / "out")]) == 2
    with pytest.raises(InputError, match=rf"no connection to figshare.*https://doi.org/{DOI}"):
        download_figshare(tmp_path / "out")
