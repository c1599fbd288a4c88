"""The page in a browser: `python -m src app`, and one line in a notebook.

Answers reach the browser inside of the page, tables and pictures too, so none of them becomes a
file. What a user gives lies in this process's own temporary folder for an hour at most, and the
folder goes with the process. The server listens on this machine only; a content security policy
forbids the browser to load anything from elsewhere.
"""

import functools
import importlib.metadata
import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path

from src.common.errors import InputError
from src.evaluation.localisation import STRONGEST
from src.serving.answer_html import answer_html, table_html
from src.serving.classifier import Answer, Classifier, load_classifier
from src.serving.examples import make_examples
from src.serving.medical_files import is_medical
from src.serving.rows import answer_row, with_series

MOST = 1000  # answers to one request: frames of a file, or rows of a table
LARGEST_FILE = "256mb"  # of an upload: 100 megapixels of 16 bits, the most that is read
WAITING = 32  # requests, at most, before more are refused
_KEPT = 3600  # seconds that an uploaded file stays
_INTRODUCTION = (
    "# Brain tumour classifier\nGive a slice of a head MRI. **Not a medical device**: for research "
    "and teaching only."
)
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'"
)
_HEAD = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
# The browser lays the map on the image, so that its strength needs no new answer.
_FADE = "(opacity) => { document.documentElement.style.setProperty('--heat', opacity) }"


class Handlers:
    """What the page calls: files in; HTML or rows out. Bad input gets a sentence, no exception.

    Args:
        classifiers: by backend, of one model; the first one's answers are the page's.
    """

    def __init__(self, classifiers: dict[str, Classifier]):
        self.classifiers = classifiers
        self.first = next(iter(classifiers.values()))

    def open_file(self, path: str | None) -> tuple[str, int, int]:
        """Return HTML on a file with several frames as a whole, how many, and which to show."""
        if not path or not is_medical(Path(path)):
            return "", 1, 1
        answers = _ask(self.first, path)
        if len(answers) < 2:
            return "", 1, 1
        if len(answers) > MOST:
            return f"<p>{escape(_too_many(path))}</p>", 1, 1
        whole = self.first.series(answers)
        shown = max(answers, key=lambda answer: answer.probabilities.get(whole.label, 0))
        text = f"<p>The whole file, {len(answers)} frames. Below: the clearest one.</p>"
        html = answer_html({"": whole}, self.first.calibrated)
        return text + html, len(answers), shown.frame or 1

    def show(self, path: str | None, frame: int = 1) -> str:
        """Return HTML on an image, or on one frame, from 1, of a file of several."""
        if not path:
            return ""
        number = _whole(frame) if is_medical(Path(path)) else None
        found = {k: _ask(each, path, number, True)[0] for k, each in self.classifiers.items()}
        return answer_html(found, self.first.calibrated)

    def table(self, files: list[str] | None) -> str:
        """Return HTML with a row for each file and frame, and a link that saves them as CSV."""
        if not files:
            return "<p>Give some files first.</p>"
        return table_html(self.predict(files), self.first.classes)

    def predict(self, files: list[str] | None, frame: float | None = None) -> list[dict]:
        """Return the rows of `predict --json`: the HTTP API's one call.

        Args:
            files: images, DICOM or NIfTI files.
            frame: of DICOM and NIfTI files, from 1; by default every one, and one for the file.
        """
        number, rows = _whole(frame), []
        try:  # together: the files of a DICOM series have an answer for all
            found = self.first.stream(files or [], frame=number)
            answers = list(itertools.islice(found, MOST + 1))
        except InputError:
            answers = []
        if 0 < len(answers) <= MOST:
            joined = with_series(self.first, answers, number)
            return [answer_row(answer) for answer in _named(joined)]
        for path in files or []:  # one by one, to say of which file
            answers = _ask(self.first, path, number)
            if len(rows) + len(answers) > MOST:
                answers = [Answer(Path(path).name, None, {}, why=_too_many(path))]
            rows += map(answer_row, with_series(self.first, answers, number))
        return rows


def build_page(handlers: Handlers, examples: Sequence[tuple[str, str]]):
    """Return the page, a `gradio.Blocks`, not yet served.

    Args:
        examples: path and caption of each.
    """
    import gradio as gr

    # Two answers at a time, whoever asks for them.
    shared = {"concurrency_id": "answers", "concurrency_limit": 2}
    inside = shared | {"api_visibility": "private"}

    def opened(path):
        text, count, number = handlers.open_file(path)
        slider = gr.Slider(maximum=max(count, 2), value=number, visible=count > 1)
        return text, slider, handlers.show(path, number)

    def chosen(event: gr.SelectData):
        return examples[event.index][0], gr.Gallery(selected_index=None)  # to be clicked again

    with gr.Blocks(
        analytics_enabled=False, title="Brain tumour classifier", delete_cache=(60, _KEPT)
    ) as page:
        gr.Markdown(_INTRODUCTION)
        with gr.Tab("One file"), gr.Row():
            with gr.Column(min_width=300):
                file = gr.File(label="Image, DICOM or NIfTI file", height=150)
                gallery = gr.Gallery(
                    [*examples],
                    label="Or click an example",
                    allow_preview=False,
                    interactive=False,
                    object_fit="contain",
                    height="auto",
                    buttons=[],
                    elem_classes="examples",
                )
            with gr.Column(min_width=300):
                whole = gr.HTML(apply_default_css=False)
                frame = gr.Slider(1, 2, 1, step=1, label="Frame", visible=False)
                answer = gr.HTML(apply_default_css=False)
                strength = gr.Slider(
                    0,
                    1,
                    STRONGEST,
                    step=0.05,
                    label="Strength of the heat map",
                    elem_classes="strength",  # hidden where there is no map
                )
        with gr.Tab("Several files"):
            files = gr.File(label="Files", file_count="multiple", height=180)
            start = gr.Button("Classify", variant="primary")
            table = gr.HTML(apply_default_css=False)
        with gr.Accordion("About the model", open=False):
            gr.HTML(_about(handlers.classifiers), apply_default_css=False)
        number, rows = gr.Number(visible=False, value=None), gr.JSON(visible=False)

        gallery.select(chosen, None, [file, gallery], **inside)
        file.change(opened, file, [whole, frame, answer], **inside)
        frame.input(handlers.show, [file, frame], answer, trigger_mode="always_last", **inside)
        strength.input(None, strength, None, js=_FADE)
        start.click(handlers.table, files, table, **inside)
        gr.Button(visible=False).click(
            handlers.predict, [files, number], rows, api_name="predict", **shared
        )
    for block in page.blocks.values():
        if isinstance(block, gr.components.Component):
            take = block.async_move_resource_to_block_cache
            block.async_move_resource_to_block_cache = functools.partial(_take_no_address, take)
    return page.queue(max_size=WAITING)


def launch(
    model: Path | str | None = None,
    backends: Sequence[str] = ("onnx",),
    *,
    data_dir: Path | None = None,
    inline: bool = False,
):
    """Serve the page on this machine, and return it, a `gradio.Blocks`; `close()` ends it.

    Args:
        model: the folder of a run; by default the shipped model.
        backends: of BACKENDS; several are shown side by side.
        data_dir: images for the examples; by default the user's, else synthetic ones.
        inline: show it below a notebook's cell.
    Raises:
        InputError: Gradio is missing or too old; or what `load_classifier` raises.
    """
    if _gradio_major() < 6:
        raise InputError(
            "The page needs gradio 6 or newer. Run python -m pip install -r "
            "src/serving/requirements/page.txt."
        )
    if _open:
        _open.pop().close()  # the cell was run again
    # TensorFlow last: what loads PyTorch after it may end the process.
    loaded = {name: load_classifier(model, name) for name in sorted(backends)}
    handlers = Handlers({name: loaded[name] for name in backends})
    os.environ["GRADIO_TEMP_DIR"] = _folder().name
    _ask_this_machine_directly()
    import gradio as gr  # last: it takes seconds

    page = build_page(handlers, make_examples(Path(_folder().name, "examples"), data_dir))
    page.launch(
        server_name="127.0.0.1",
        share=False,
        inline=inline,
        prevent_thread_lock=True,
        quiet=True,
        max_file_size=LARGEST_FILE,
        state_session_capacity=64,
        ssr_mode=False,
        run_history=False,
        enable_monitoring=False,
        mcp_server=False,
        footer_links=[],
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
        css_paths=Path(__file__).with_suffix(".css"),
        head=_HEAD,
        height=900,
    )
    _open.append(page)
    return page


def _ask_this_machine_directly() -> None:
    """Keep a proxy of the environment out: Gradio asks its own server whether it is up."""
    direct = os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")
    if direct != "*" and "127.0.0.1" not in direct.split(","):
        direct = ",".join(filter(None, (direct, "127.0.0.1")))
    for name in ("NO_PROXY", "no_proxy"):
        os.environ[name] = direct


def _gradio_major() -> int:
    """Return the number before the first point of Gradio's version; 0 where none is installed."""
    try:
        return int(importlib.metadata.version("gradio").partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        return 0


_open: list = []  # the page that this process serves


@functools.cache
def _folder() -> tempfile.TemporaryDirectory:
    """Return this process's folder for what users give; it is removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="brain-tumor-page-", ignore_cleanup_errors=True)


async def _take_no_address(take, path: str):
    """Do what Gradio does with a file that is given, but fetch none from the internet."""
    if str(path).startswith(("http://", "https://")):
        import gradio as gr

        raise gr.Error("Give a file, not an address.", print_exception=False)
    return await take(path)


def _ask(
    classifier: Classifier, path: str, frame: int | None = None, heatmap: bool = False
) -> list[Answer]:
    """Return the answers for a file, named as the user named it; at most one more than `MOST`."""
    try:
        found = classifier.stream([path], heatmap=heatmap, frame=frame)
        return list(itertools.islice(_named(found), MOST + 1))
    except InputError as error:
        if heatmap:  # a head with a hidden layer has no maps
            return _ask(classifier, path, frame)
        return [Answer(Path(path).name, None, {}, why=str(error))]


def _whole(frame: object) -> object:
    """Return a whole number as an int, as a browser may send 2.0; else what it is."""
    return int(frame) if isinstance(frame, float) and frame.is_integer() else frame


def _named(answers: Iterable[Answer]) -> Iterator[Answer]:
    """Yield the answers under the names that the user gave the files."""
    for answer in answers:
        series = answer.series and Path(answer.series).name
        yield replace(answer, name=Path(answer.name).name, series=series)


def _too_many(path: str) -> str:
    return f"{Path(path).name}: over {MOST} answers in all; use python -m src predict"


def _about(classifiers: dict[str, Classifier]) -> str:
    about = next(iter(classifiers.values())).about
    about = about | {
        "framework": "; ".join(each.about["framework"] for each in classifiers.values())
    }
    rows = (f"<p><b>{escape(name)}</b>: {escape(text)}</p>" for name, text in about.items())
    return "".join(rows)
