"""`data download figshare` against a local server that plays doi.org, figshare's API and its files.

pooch asks fixed addresses, so requests' last step is led to the server; all above it is real.
"""

import hashlib
import io
import json
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from image_folders import data_command
from made_sources import write_folds, write_mat
from requests.adapters import HTTPAdapter

from src.common.errors import InputError
from src.data.sources.download import DOI, FIGSHARE_NAME, download_figshare
from src.data.sources.readers import read_source


@pytest.fixture
def files(tmp_path):
    """Return name -> bytes of two archives of slices and of the folds; the archives are of 3 MB."""
    folder = tmp_path / "made"
    folder.mkdir()
    write_folds(folder / "cvind.mat", 4)
    contents = {"cvind.mat": (folder / "cvind.mat").read_bytes(), "README.txt": b"read me"}
    for numbers in ((1, 2), (3, 4)):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for number in numbers:
                write_mat(folder / f"{number}.mat", number, f"10{number}", 1)
                archive.write(folder / f"{number}.mat", f"deep/{number}.mat")
            archive.writestr("notes.txt", bytes(3_000_000))
        contents[f"brainTumorDataPublic_{numbers[0]}-{numbers[1]}.zip"] = packed.getvalue()
    return contents


@pytest.fixture
def server(files, monkeypatch):
    """Serve figshare on this machine; `.asked` lists files, `.sums` may be falsified."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            """Print nothing: the server's own would write to stderr."""

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
                name = path.rpartition("/")[2]
                httpd.asked.append(name)
                self.answer(files[name] if httpd.status == 200 else b"", httpd.status)

        def answer(self, content, status=200):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    httpd.asked, httpd.sums, httpd.status = [], {}, 200
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    send = HTTPAdapter.send

    def led(self, request, **options):
        asked = request.url
        request.url = f"http://127.0.0.1:{httpd.server_port}/{asked.split('://', 1)[1]}"
        response = send(self, request, **{**options, "proxies": {}})
        request.url = response.url = asked
        return response

    monkeypatch.setattr(HTTPAdapter, "send", led)
    yield httpd
    httpd.shutdown()
    httpd.server_close()


def test_the_slices_come_checked_and_unpacked_where_the_reader_reads(server, tmp_path, capsys):
    out = tmp_path / "out"
    data_command("download", "figshare", "--out", out)
    assert [path.name for path in out.glob("[!.]*")] == [FIGSHARE_NAME]
    slices = read_source(out / FIGSHARE_NAME)
    assert [image.name for image in slices] == ["1", "2", "3", "4"]
    assert [image.fold for image in slices] == [1, 2, 3, 4]
    names = {path.name for path in (out / FIGSHARE_NAME).iterdir()}
    assert names == {"deep", "notes.txt", "cvind.mat", "source.json"}
    assert json.loads((out / FIGSHARE_NAME / "source.json").read_text()) == {"source": f"doi:{DOI}"}
    assert "4 slices of 4 patients" in capsys.readouterr().out
    fetched = len(server.asked)
    assert download_figshare(out) == out / FIGSHARE_NAME and len(server.asked) == fetched == 3


def test_what_came_whole_is_not_fetched_again(server, tmp_path):
    server.sums["cvind.mat"] = "0" * 32
    with pytest.raises(InputError, match="does not have the checksum that figshare publishes"):
        download_figshare(tmp_path / "out")
    assert not (tmp_path / "out" / FIGSHARE_NAME).exists()
    assert not (tmp_path / "out" / f".{FIGSHARE_NAME}.parts" / "cvind.mat").exists()
    server.sums.clear()
    server.asked.clear()
    assert len(read_source(download_figshare(tmp_path / "out"))) == 4
    assert server.asked == ["cvind.mat"]


def test_an_answer_that_is_no_file_is_refused(server, tmp_path):
    server.status = 202  # what figshare's guard answers to programs at times
    with pytest.raises(InputError, match=rf"does not have the checksum .*https://doi.org/{DOI}"):
        download_figshare(tmp_path / "out")


def test_offline_it_says_what_to_do(offline, tmp_path):
    from src.__main__ import main

    assert main(["data", "download", "figshare", "--out", str(tmp_path / "out")]) == 2
    with pytest.raises(InputError, match=rf"no connection to figshare.*https://doi.org/{DOI}"):
        download_figshare(tmp_path / "out")
