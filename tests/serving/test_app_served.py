"""The page as it is served: in a real browser, over HTTP, and what it leaves behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import psutil
import pytest
from made_medical import dicom
from made_weights import quick_weights
from PIL import Image

from src import load_classifier
from src.common.files import file_sha256, read_json
from src.config import preset
from src.data.phantom.anatomy import draw_slice
from src.data.phantom.patient import draw_patient
from src.pretrained.foreign import foreign
from src.serving.calibration import ARRAYS, gray_levels
from src.training.checkpoint import write_card, write_model
from src.xception.weight_files import write_safetensors

ROOT = Path(__file__).parents[2]
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
PATIENT = {"httpx_kwargs": {"timeout": 120}}  # s; slow machines
# Notes each address that the server's process connects to, looks up or listens at.
NOTED = """
import sys
log = open(sys.argv[1], "a", buffering=1)
def note(event, given):
    if event == "socket.getaddrinfo":
        print(event, given[0], file=log)
    elif event in ("socket.connect", "socket.bind") and isinstance(given[1], tuple):
        print(event, *given[1][:2], file=log)
sys.addaudithook(note)
from src.__main__ import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Write a model that refuses what has bright borders, and files of each kind."""
    folder, config = tmp_path_factory.mktemp("files"), preset("smoke")
    write_model(folder / "run", quick_weights(config), config, "pt")
    arrays = {"mean": np.zeros(2048, np.float32), "components": np.eye(1, 2048, dtype=np.float32)}
    write_safetensors(folder / "run" / ARRAYS, arrays)
    about = {"temperature": 1.0, "sure_from": 0.0, "novelty_limit": 9.0, "operating_points": {}}
    about |= {"corner_limit": 60.0, "border_limit": 60.0, "contrast_limit": 1.0}
    about["sha256"] = file_sha256(folder / "run" / ARRAYS)
    card = read_json(folder / "run" / "model.json")
    write_card(folder / "run", card | {"calibration": about})
    heads = [draw_slice(draw_patient("glioma", 0, 1, 0, k), 0.0, 160, 1)[0] for k in range(4)]
    for number in range(2):
        Image.fromarray(heads[number]).save(folder / f"head{number}.png")
    dicom(folder / "series.dcm", np.stack(heads).astype(np.int16))
    photo = next(
        p for p in foreign("photograph") if gray_levels(np.asarray(p.convert("L")))[1] > 70
    )
    photo.save(folder / "photo.jpg")
    (folder / "text.txt").write_text("no image")
    large = Image.fromarray(heads[0]).resize((7746, 7746))  # 60 megapixels
    large.save(folder / "large.png", compress_level=1)
    return folder


@pytest.fixture(scope="module")
def server(files, tmp_path_factory):
    """Start `python -m src app` in a process, behind a dead proxy; yield its address and process.

    At the end it was connected with nothing but this machine, and leaves nothing on disk.
    """
    pytest.importorskip("gradio", reason="gradio is not installed")
    work = tmp_path_factory.mktemp("server")
    (work / "temporary").mkdir()
    env = {name: value for name, value in os.environ.items() if name != "BRAIN_TUMOR_DATA"}
    env |= {name: str(work / "temporary") for name in ("TMPDIR", "TEMP", "TMP")}
    env = {name: value for name, value in env.items() if name.lower() != "no_proxy"}
    proxies = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy")
    env |= dict.fromkeys(proxies, "http://127.0.0.1:9")
    command = [sys.executable, "-c", NOTED, str(work / "log"), "app"]
    command += ["--model", str(files / "run")]
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        lines = iter(process.stdout.readline, "")
        found = (re.search(r"The page is at (http://127\.0\.0\.1:\d+/)", line) for line in lines)
        url = next(match[1] for match in found if match)
        yield url, process
        process.send_signal(signal.SIGTERM)
        process.wait(120)
    lines = (work / "log").read_text().splitlines()
    assert "socket.connect 127.0.0.1 9" not in lines  # the proxy
    noted = {line.split()[1] for line in lines}
    assert {"127.0.0.1"} <= noted <= {"127.0.0.1", "localhost", "::1"}, noted
    assert [*(work / "temporary").iterdir()] == []


@pytest.fixture
def browser():
    """Yield Debian's Chromium, or skip."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        yield driver.chromium.launch(executable_path=path)


class Visitor:
    """Somebody at the page, and all that their browser asked for."""

    def __init__(self, browser, url, **options):
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(90_000)
        self.requests, self.errors = [], []
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.get_by_text("Not a medical device").wait_for()

    def give(self, path):
        clear = self.page.get_by_label("Clear").or_(self.page.get_by_label("Remove this file"))
        if clear.first.is_visible():
            clear.first.click()
            self.page.locator(".answer").first.wait_for(state="detached")
        self.page.locator("input[type=file]").first.set_input_files(path)

    def answer(self, *texts):
        """Wait for an answer that holds `texts`; return the last one's HTML."""
        for text in texts:
            self.page.locator(".answer", has_text=text).last.wait_for()
        return self.page.locator(".answer").last.inner_html()

    def picture(self, name):
        """Keep what is seen, to be looked at, where PAGE_PICTURES names a folder."""
        if folder := os.environ.get("PAGE_PICTURES"):
            self.page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def is_dark(page) -> bool:
    red = page.evaluate("getComputedStyle(document.body).backgroundColor").split("(")[1]
    return int(red.split(",")[0]) < 60


@pytest.mark.slow
def test_a_visit(server, files, browser, tmp_path):
    url, _ = server
    classifier = load_classifier(files / "run")
    one = Visitor(browser, url, viewport={"width": 1200, "height": 900})
    page = one.page

    # An example by mouse, another by keyboard alone.
    examples = page.locator(".examples button.thumbnail-item")
    examples.first.click()
    one.answer("drawn-glioma.png")
    examples.first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    one.answer("drawn-meningioma.png")
    one.picture("example")
    one.give(files / "head0.png")
    label = classifier.predict(files / "head0.png").label
    assert f"<h2>{label} <small>" in one.answer("head0.png")
    strength = page.get_by_role("slider", name=re.compile("Strength"))
    strength.focus()
    opacity = "getComputedStyle(document.querySelector('.heat')).opacity"
    before = float(page.evaluate(opacity))
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"{opacity} < {before - 0.1}")

    # What has no answer.
    one.give(files / "photo.jpg")
    one.answer("photo.jpg", "Not a head MRI")
    one.picture("refused")
    assert not page.locator(".heat").count() and not strength.is_visible()
    one.give(files / "text.txt")
    one.answer("No answer", "text.txt: not an image")
    one.give(files / "large.png")  # 60 megapixels
    one.answer("large.png", "probability")

    # DICOM: the whole file, and each frame.
    one.give(files / "series.dcm")
    one.answer("series.dcm#")
    assert page.get_by_text("The whole file, 4 frames").is_visible()
    slider = page.get_by_role("slider", name=re.compile("Frame"))
    slider.focus()
    page.keyboard.press("Home")
    one.answer("series.dcm#1")
    page.keyboard.press("ArrowRight")
    one.answer("series.dcm#2")
    one.picture("dicom")

    # Two at once, on a phone and in the dark.
    two = Visitor(browser, url, **PHONE, color_scheme="dark")
    assert is_dark(two.page) and not is_dark(page)
    one.give(files / "head0.png")
    two.give(files / "head1.png")
    assert "head1" in two.answer("head1.png") and "head0" in one.answer("head0.png")
    wide = "document.documentElement.scrollWidth"
    assert two.page.evaluate(wide) <= 390
    two.page.locator(".layers").scroll_into_view_if_needed()
    assert two.page.locator(".layers").bounding_box()["width"] > 250
    two.picture("phone-dark")

    # Several files, and the CSV.
    two.page.get_by_role("tab", name="Several files").click()
    names = ("head0.png", "text.txt", "photo.jpg")
    two.page.locator("input[type=file]").last.set_input_files([files / name for name in names])
    two.page.locator(".file-preview:visible tr").nth(len(names) - 1).wait_for()
    two.page.get_by_role("button", name="Classify").click()
    with two.page.expect_download() as download:
        two.page.get_by_text("Save as CSV").click()
    saved = Path(download.value.path()).read_text().splitlines()
    assert [line.partition(",")[0] for line in saved] == ["name", *names]
    assert two.page.evaluate(wide) <= 390

    # Nothing left this machine, and nothing else could.
    for visitor in (one, two):
        assert len(visitor.requests) > 20 and not visitor.errors
        hosts = {
            urlparse(r).hostname for r in visitor.requests if not r.startswith(("data", "blob"))
        }
        assert hosts == {"127.0.0.1"}, hosts
    tried = "fetch('https://example.com').then(() => 'sent', () => 'refused')"
    seen = (
        "new Promise(tell => addEventListener('securitypolicyviolation', e => tell(e.blockedURI)))"
    )
    assert page.evaluate(f"Promise.all([{seen}, {tried}])")[1] == "refused"


@pytest.mark.slow
def test_an_address_is_not_fetched(server):
    from gradio_client import Client  # comes with gradio

    client = Client(server[0], verbose=False, **PATIENT)
    address = {"path": "https://example.com/a.png", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(Exception, match="Give a file, not an address"):
        client.predict([address], None, api_name="/predict")
    client.close()


@pytest.mark.full
def test_200_requests_from_8_clients_leave_memory_as_it_was(server, files):
    import gradio_client  # comes with gradio

    url, process = server
    kinds = ("head0.png", "text.txt", "head1.png", "series.dcm", "photo.jpg")
    answers = {name: load_classifier(files / "run").predict([files / name]) for name in kinds}

    def visit(count):
        client = gradio_client.Client(url, verbose=False, **PATIENT)
        for number in range(count):
            name = kinds[number % len(kinds)]
            given = [gradio_client.handle_file(files / name)]
            rows = client.predict(given, None, api_name="/predict")
            assert {Path(row["name"]).stem for row in rows} == {Path(name).stem}
            labels = [row["label"] for row in rows]
            assert labels[: len(answers[name])] == [answer.label for answer in answers[name]]
        client.close()

    used = []
    for count in (5, 20):  # the first 40 requests warm it up
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(visit, [count] * 8))
        used.append(psutil.Process(process.pid).memory_info().rss)
    assert used[1] - used[0] < 50e6, used
