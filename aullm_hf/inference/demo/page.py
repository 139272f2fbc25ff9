"""The page itself: Gradio around `analysis.py`.

Pictures, the table and its download are part of the page's answer, not files: the one thing that is ever written is
the upload, which is deleted as soon as it has been analysed. Nothing is fetched from anywhere but this server.
Needs the extra `demo`.
"""

import base64
import html
import json
import logging
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np

from ..pictures.clip_pictures import PICTURES
from ..pictures.drawing import muscle_of, new_figure, spelled_out
from ..training_note import training_note
from .analysis import Analysis, Demo, DemoError, limits_line, table_csv
from .live_requests import LiveRequests
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
            answer = _answer(lambda: result_html(demo.analyse_upload(path, cropped=cropped)))
            return answer, None  # the page forgets it as well
        finally:
            forget(path)

    def watch(path: str | None, cropped: bool) -> tuple[str, None]:
        try:
            return _answer(lambda: video_html(demo.video_of_upload(path, cropped=cropped), path)), None
        finally:
            forget(path)

    def example(name: str | None) -> str:
        return _answer(lambda: result_html(demo.analyse_example(name)))

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
            with gr.Row():
                send = gr.Button("Analyse the clip", variant="primary", elem_id="send")
                make_video = gr.Button("Make a video to watch", elem_id="watch")
            gr.HTML(
                f"<p>{limits_line(demo.limits)} No clip is kept: yours is deleted as soon as it has been analysed, "
                "and sound is not recorded. A clip that the browser cannot play, such as .avi, can be analysed all "
                "the same.</p>"
            )
        with gr.Tab("An example") as of_page:
            chosen = gr.Radio(names, value=names[0], label="Drawn faces, nobody's", elem_id="examples")
            try_it = gr.Button("Analyse the example", variant="primary", elem_id="try")
        with gr.Tab("Live") as of_camera:
            gr.HTML(live_html(demo))
        result = gr.HTML("", elem_id="result")
        shared = {"concurrency_limit": 1, "concurrency_id": "analysis", "api_visibility": "private"}
        for done in (
            send.click(upload, [clip, cropped], [result, clip], **shared),
            try_it.click(example, chosen, result, **shared),
            make_video.click(watch, [clip, cropped], [result, clip], **shared),
        ):
            done.then(None, js=SHOW_RESULT)
        asked_anew = (
            clip.upload,
            clip.stop_recording,
            clip.clear,
            chosen.input,
            *(tab.select for tab in (of_visitor, of_page, of_camera)),
        )
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
                app_kwargs={"middleware": middleware(demo, host in LOOPBACK and not share), "openapi_url": None},
                enable_monitoring=False,
                mcp_server=False,
                ssr_mode=False,
                footer_links=[],
                theme=_theme(),
                head=page_files(),
            )
            print(f"The page is at {public or local} (Ctrl-C ends it).", flush=True)
            threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        if page is not None:
            page.close(verbose=False)  # after the folder is gone: it waits for visitors who are still there


def middleware(demo: Demo, own_hosts_only: bool) -> list:
    """What a request meets before Gradio: what the server takes (one clip an upload, with what the form adds to it),
    and what answers the live page."""
    from starlette.middleware import Middleware

    limits = demo.limits
    one = (limits.megabytes << 20) + (1 << 16)
    taken = {"upload_bytes": one, "at_once": limits.waiting, "seconds": limits.upload_seconds}
    return [
        Middleware(RequestLimits, **taken, own_hosts_only=own_hosts_only),
        Middleware(LiveRequests, start=demo.start_live, most=limits.live, idle=limits.live_idle),
    ]


def page_files() -> str:
    """The page's looks and the live page's script, for the head: `css=` would reach only what lies inside the page."""
    here = Path(__file__).parent
    script = (here / "live.js").read_text(encoding="utf-8")
    return f"<style>{(here / 'page.css').read_text(encoding='utf-8')}</style><script>{script}</script>"


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


def _answer(answer_of: Callable[[], str]) -> str:
    try:
        return answer_of()
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


def live_html(demo: Demo) -> str:
    """The live page as an element that `live.js` fills; it is told the AUs and their thresholds."""
    thresholds = demo.detector.thresholds
    aus = [
        {"label": label, "name": spelled_out(label), "muscle": muscle_of(label), "threshold": thresholds[label]}
        for label in demo.detector.labels
    ]
    return f"<aullm-live data-aus='{html.escape(json.dumps(aus))}'></aullm-live>"


def result_html(analysis: Analysis) -> str:
    """Everything that is shown of an analysis, with its pictures and its download inside."""
    active = [row for row in analysis.aus.itertuples() if row.active]
    names = ", ".join(f"{row.au} {row.name}" for row in active)
    heading = f"Active: {names}" if active else "No Action Unit reaches its threshold"
    name = _file_name(analysis.rows["source"].iloc[0], "_aus.csv")
    table = f"data:text/csv;charset=utf-8;base64,{_base64(table_csv(analysis).encode())}"
    parts = [
        f"<section class='au-result'><h2 tabindex='-1'>{html.escape(heading)}</h2>",
        *(f"<p class='au-note'>{html.escape(_sentence(remark))}</p>" for remark in analysis.remarks),
        "<div class='au-face'>",
        f"<img alt='The aligned face, as the model saw it first' src='{_png_of(analysis.face)}'>",
        f"<div><strong>{html.escape(analysis.title)}</strong><br>{html.escape(_read_line(analysis))}</div></div>",
        _table(analysis),
        f"<a class='au-download' id='download' download='{name}' href='{table}'>Download the table (CSV)</a>",
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


def video_html(video: bytes, path: str) -> str:
    """A video to watch and to download, inside the page."""
    address, name = f"data:video/mp4;base64,{_base64(video)}", _file_name(path, "_watch.mp4")
    return (
        "<section class='au-result'><h2 tabindex='-1'>A video to watch</h2>"
        "<p>The face, its Action Units as they come and go in windows of half a second, and their timeline below.</p>"
        f"<video controls playsinline class='picture' id='watched' src='{address}'></video>"
        f"<a class='au-download' id='download-video' download='{name}' href='{address}'>Download the video</a>"
        "</section>"
    )


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


def _file_name(source: str, ending: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]+", "_", Path(source).stem).strip("_")[:60] + ending


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
