"""The page itself: Gradio around `analysis.py`.

Pictures, the table and its download are part of the page's answer, not files: the one thing that is ever written is
the upload, which is deleted as soon as it has been analysed. Nothing is fetched from anywhere but this server.
Needs the extra `demo`.
"""

import base64
import html
import logging
import os
import re
import shutil
import signal
import tempfile
import threading
from io import BytesIO
from pathlib import Path

import numpy as np

from ..pictures.clip_pictures import PICTURES
from ..pictures.drawing import new_figure
from ..training_note import training_note
from .analysis import Analysis, Demo, DemoError, limits_line, table_csv
from .request_limits import LOOPBACK, RequestLimits

logger = logging.getLogger(__name__)

NOT_FOR = (
    "For research and teaching. Not for deception detection, hiring, policing, border control, or any decision about "
    "a person: a facial movement is not an emotion, and an emotion is not an intention."
)
UNUSED_UPLOADS = (60, 600)  # seconds: how often to look for uploads that nobody analysed, and how old they may be
HEADINGS = {
    "film_strip": "Where the evidence is",
    "timeline": "Over time",
    "face": "The muscles",
    "relations": "How the AUs relate",
}  # without the attention over channels of the network, which have no names: `aullm explain` draws it

CSS = """
.gradio-container {max-width: 860px !important; margin: 0 auto !important;}
:focus-visible, .gradio-container input[type=radio]:focus-visible, .gradio-container button:focus-visible {
  outline: 3px solid #D55E00 !important; outline-offset: 2px !important;}
.gradio-container button[role=tab].selected {color: var(--body-text-color) !important; font-weight: 650;}
.gradio-container .or {color: inherit !important;}
.au-note {border-left: 4px solid #E69F00; background: var(--background-fill-secondary); padding: .6em .9em;
  margin: .3em 0; border-radius: 4px;}
.au-error {border-left: 4px solid #D55E00; background: var(--background-fill-secondary); padding: .6em .9em;
  border-radius: 4px; font-weight: 600;}
#result .au-result h2 {font-size: 1.25em; margin: 1.2em 0 .4em; font-weight: 650;}
#result .au-result h3 {font-size: 1.05em; margin: 1.4em 0 .3em; font-weight: 600;}
#result .au-result p {margin: .3em 0;}
#result .au-result ul {margin: .3em 0 .3em 1.1em; list-style: disc;}
#result .au-result img.picture {display: block; width: 100%; max-width: 480px; height: auto; border-radius: 6px;}
#result .au-face {display: flex; gap: 1em; align-items: center; flex-wrap: wrap;}
#result .au-face img {width: 144px; height: 144px; border-radius: 6px;}
#result .au-face > div {flex: 1 1 160px; min-width: 0; overflow-wrap: anywhere;}
#result .au-result table {border-collapse: collapse; border: none; width: 100%; margin: .4em 0;}
#result .au-result tr, #result .au-result th, #result .au-result td {border: none;}
#result .au-result th {text-align: left; font-weight: 600; padding: .35em .4em;
  border-bottom: 2px solid var(--body-text-color);}
#result .au-result td {padding: .35em .4em; border-bottom: 1px solid var(--border-color-primary); vertical-align: top;}
#result .au-result th.number, #result .au-result td.number {text-align: right; font-variant-numeric: tabular-nums;
  padding-right: 1em;}
#clip video {max-height: 276px; object-fit: contain;}
#result .au-result tr.active td {font-weight: 650;}
#result .au-result td .muscle {display: block; font-weight: 400; font-style: italic;
  font-size: max(.85em, 12px); opacity: .8;}
#result a.au-download {display: inline-block; padding: .55em 1em; margin: .4em 0; border-radius: 6px; font-weight: 600;
  background: #0072B2; color: #FFFFFF !important; text-decoration: none;}
@media (max-width: 480px) {
  .gradio-container > .main {padding: 10px !important;}
  .gradio-container .html-container {padding: 2px !important;}
  #result .au-result td, #result .au-result th {padding: .3em .15em; font-size: .875em;}
  #result .au-result th.number, #result .au-result td.number {padding-right: .6em;}
}
"""


# The answer may lie below the fold: bring it into view, and let the keyboard go on from there.
SHOW_RESULT = """() => {
  const answer = document.querySelector('#result [tabindex]');
  if (answer) { answer.focus(); answer.scrollIntoView({block: 'start'}); }
}"""
CLEAR_RESULT = "() => ''"  # an answer goes with the question that it belongs to


def build_page(demo: Demo):
    """The page as `gradio.Blocks`, not launched."""
    gr = _gradio()
    names = list(demo.examples())

    def upload(path: str | None, cropped: bool) -> tuple[str, None]:
        try:
            return _answer(lambda: demo.analyse_upload(path, cropped=cropped)), None  # the page forgets it as well
        finally:
            forget(path)

    def example(name: str | None) -> str:
        return _answer(lambda: demo.analyse_example(name))

    with gr.Blocks(title="Facial Action Units", analytics_enabled=False, delete_cache=UNUSED_UPLOADS) as page:
        gr.HTML(page_head(demo))
        with gr.Tab("Your clip") as of_visitor:
            clip = gr.Video(
                label="A clip of a face",
                sources=["upload", "webcam"],
                webcam_options=gr.WebcamOptions(mirror=False, constraints={"video": True, "audio": False}),
                height=320,
                elem_id="clip",
            )
            cropped = gr.Checkbox(
                value=demo.takes_crops, label="The clip is cropped to the face already", elem_id="cropped"
            )
            send = gr.Button("Analyse the clip", variant="primary", elem_id="send")
            gr.HTML(
                f"<p>{limits_line(demo.limits)} No clip is kept: yours is deleted as soon as it has been analysed, "
                "and sound is not recorded. A clip that the browser cannot play, such as .avi, can be analysed all "
                "the same.</p>"
            )
        with gr.Tab("An example") as of_page:
            chosen = gr.Radio(names, value=names[0], label="Drawn faces, nobody's", elem_id="examples")
            try_it = gr.Button("Analyse the example", variant="primary", elem_id="try")
        result = gr.HTML("", elem_id="result")
        shared = {"concurrency_limit": 1, "concurrency_id": "analysis", "api_visibility": "private"}
        for done in (
            send.click(upload, [clip, cropped], [result, clip], **shared),
            try_it.click(example, chosen, result, **shared),
        ):
            done.then(None, js=SHOW_RESULT)
        asked_anew = (clip.upload, clip.stop_recording, clip.clear, chosen.input, of_visitor.select, of_page.select)
        gr.on(asked_anew, None, None, result, js=CLEAR_RESULT)
    return page.queue(max_size=demo.limits.waiting)


def launch(demo: Demo, *, host: str = "127.0.0.1", port: int | None = None, share: bool = False) -> None:
    """Serve the page until Ctrl-C or SIGTERM. Uploads lie in a folder of this process alone, which goes with it."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder goes then, too
    page = None
    try:
        with tempfile.TemporaryDirectory(prefix="aullm-demo-") as uploads:  # readable by this user only
            os.environ["GRADIO_TEMP_DIR"] = uploads
            page = build_page(demo)
            _, local, public = page.launch(
                server_name=host,
                server_port=port,
                share=share,
                prevent_thread_lock=True,
                quiet=True,
                max_file_size=demo.limits.megabytes << 20,
                max_threads=2 * demo.limits.waiting,
                app_kwargs={"middleware": [request_limits(demo, host in LOOPBACK and not share)], "openapi_url": None},
                enable_monitoring=False,
                mcp_server=False,
                ssr_mode=False,
                footer_links=[],
                theme=_theme(),
                head=f"<style>{CSS}</style>",  # `css=` would reach only what lies inside the page
            )
            print(f"The page is at {public or local} (Ctrl-C ends it).", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        if page is not None:
            page.close(verbose=False)  # after the folder is gone: it waits for visitors who are still there


def request_limits(demo: Demo, own_hosts_only: bool):
    """What the server takes, beside what Gradio bounds itself: one clip an upload, with what the form adds to it."""
    from starlette.middleware import Middleware

    one = (demo.limits.megabytes << 20) + (1 << 16)
    return Middleware(
        RequestLimits,
        upload_bytes=one,
        at_once=demo.limits.waiting,
        seconds=demo.limits.upload_seconds,
        own_hosts_only=own_hosts_only,
    )


def _theme():
    """Gradio's plainest, with the fonts that are on the visitor's machine: nothing is fetched."""
    gr = _gradio()
    return gr.themes.Base(
        primary_hue="blue", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(button_primary_background_fill="#0072B2", button_primary_background_fill_hover="#005A8C")


def forget(path: str | None) -> None:
    """Delete an upload with the folder made for it; only ever inside the folder for uploads."""
    if not path:
        return
    uploads = Path(os.environ.get("GRADIO_TEMP_DIR", "")).resolve()
    file = Path(path).resolve()
    if os.environ.get("GRADIO_TEMP_DIR") and uploads in file.parents:
        shutil.rmtree(file.parent if file.parent != uploads else file, ignore_errors=True)


def _gradio():
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before the import, which reads it
    try:
        import gradio
    except ImportError as error:
        raise ImportError('The demo page needs Gradio: pip install "aullm-hf[demo]".') from error
    return gradio


# -------------------------------------------------------------------- HTML


def _answer(analyse) -> str:
    try:
        return result_html(analyse())
    except DemoError as error:
        answer = str(error)
    except Exception:  # a visitor is told so, whoever serves the page finds the reason in the log
        logger.exception("an analysis failed")
        answer = "The analysis failed, and not through your clip. Whoever runs this page finds the reason in its log."
    return f'<div class="au-error" role="alert" tabindex="-1">{html.escape(answer)}</div>'


def page_head(demo: Demo) -> str:
    """What the page is, what it is not for, and what the model has never seen."""
    notes = [f"<div class='au-note' role='note' id='not-for'>{NOT_FOR}</div>"]
    trained_on = demo.detector.trained_on
    note = training_note(trained_on) if trained_on else "what this model was trained on is not recorded with it"
    if note:
        notes.append(f"<div class='au-note' role='note' id='trained-on'>{html.escape(_sentence(note))}</div>")
    model = html.escape("/".join(Path(demo.detector.name).parts[-3:]))  # of a folder no more than tells it from others
    return (
        "<h1 style='font-size:1.6em;font-weight:700;margin:.2em 0'>Facial Action Units in a clip</h1>"
        f"<p>Which muscles moved, how likely, and where it shows. Model: {model}, "
        f"{len(demo.detector.labels)} Action Units.</p>" + "".join(notes)
    )


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:].rstrip('.')}."


def result_html(analysis: Analysis) -> str:
    """Everything that is shown of an analysis, with its pictures and its download inside."""
    active = [row for row in analysis.aus.itertuples() if row.active]
    names = ", ".join(f"{row.au} {row.name}" for row in active)
    heading = f"Active: {names}" if active else "No Action Unit reaches its threshold"
    table = f"data:text/csv;charset=utf-8;base64,{_base64(table_csv(analysis).encode())}"
    parts = [
        f"<section class='au-result'><h2 tabindex='-1'>{html.escape(heading)}</h2>",
        *(f"<p class='au-note'>{html.escape(_sentence(remark))}</p>" for remark in analysis.remarks),
        "<div class='au-face'>",
        f"<img alt='The aligned face, as the model saw it first' src='{_png_of(analysis.face)}'>",
        f"<div><strong>{html.escape(analysis.title)}</strong><br>{html.escape(_read_line(analysis))}</div></div>",
        _table(analysis),
        f"<a class='au-download' id='download' download='{_file_name(analysis)}' href='{table}'>"
        "Download the table (CSV)</a>",
        "<h3>In words</h3><ul>",
        *(f"<li>{html.escape(words)}</li>" for words in analysis.sentences),
        "</ul>",
    ]
    for name, heading in HEADINGS.items():
        if figure := analysis.pictures.get(name):
            what = PICTURES.get(
                name, "How likely each Action Unit is over time; spans in which it is active are shaded"
            )
            parts.append(f"<h3>{heading}</h3><img class='picture' alt='{html.escape(what)}' src='{_png(figure)}'>")
    parts.append("</section>")
    return "".join(parts)


def _read_line(analysis: Analysis) -> str:
    clip = analysis.clip
    facts = [f"{clip.frames_read} frames"]
    if clip.fps:
        facts.append(f"{clip.fps:.4g} a second")
    facts.append({True: "face found", False: "no face found", None: "taken as cropped"}[clip.face_found])
    if len(analysis.rows) > 1:
        facts.append(f"the clearest of {len(analysis.rows)} windows")
    return ", ".join(facts)


def _table(analysis: Analysis) -> str:
    rows = "".join(
        f"<tr{' class=active' if row.active else ''}><td>{row.au} {html.escape(row.name)}"
        f"<span class='muscle'>{html.escape(row.muscle)}</span></td><td class='number'>{row.probability:.2f}</td>"
        f"<td class='number'>{row.threshold:.2f}</td><td>{'yes' if row.active else 'no'}</td></tr>"
        for row in analysis.aus.itertuples()
    )
    head = (
        "<th scope='col'>Action Unit, muscles</th><th scope='col' class='number'>Probability</th>"
        "<th scope='col' class='number'>Threshold</th><th scope='col'>Active</th>"
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _file_name(analysis: Analysis) -> str:
    stem = Path(analysis.rows["source"].iloc[0]).stem
    return re.sub(r"[^A-Za-z0-9_-]+", "_", stem).strip("_")[:60] + "_aus.csv"


def _png(figure) -> str:
    file = BytesIO()
    figure.savefig(file, format="png", dpi=170, metadata={"Software": None})
    return f"data:image/png;base64,{_base64(file.getvalue())}"


def _png_of(image: np.ndarray) -> str:
    """A gray picture, enlarged softly."""
    figure = new_figure(1.6, 1.6)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    axes.axis("off")
    return _png(figure)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


__all__ = ["build_page", "forget", "launch", "page_head", "result_html"]
