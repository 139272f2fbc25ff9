// The live page: a camera's pictures go out one after another, and what is known of them is drawn. Nothing is kept.
// A picture goes out when the last one was answered, or nearly was: a machine that is too slow leaves pictures out.
(() => {
  if (customElements.get("aullm-live")) return;
  const SPAN = 30, WIDTH = 640, QUALITY = 0.85, LANE = 16, LABEL = 52, TICK = 250;
  const BLUE = "#0072B2", PALE = "#9CC9E6", ORANGE = "#D55E00";
  const CAMERA_ERRORS = {
    NotAllowedError: "The browser did not let this page use the camera. Allow it beside the address, and start again.",
    NotFoundError: "No camera was found. Plug one in, and start again.",
    NotReadableError: "The camera is used by another program. Close that one, and start again.",
  };
  const seconds = (value) => `${value.toFixed(value < 10 ? 2 : 0)} s`;
  const sentence = (words) => words && `${words[0].toUpperCase()}${words.slice(1).replace(/\.$/, "")}.`;
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  class Live extends HTMLElement {
    connectedCallback() {
      if (this.button) return;
      this.aus = JSON.parse(this.dataset.aus);
      this.button = make("button", { id: "live-start", type: "button", textContent: "Start the camera" });
      this.message = make("p", { id: "live-message", role: "status",
        textContent: "Nothing is sent before you start. Pictures are looked at in memory and forgotten; none is kept." });
      this.speed = make("p", { id: "live-speed" });
      this.video = make("video", { muted: true, playsInline: true, ariaLabel: "The camera's picture" });
      this.face = make("img", { alt: "The aligned face, as it is followed", hidden: true });
      this.rows = this.aus.map((au) => {
        const bar = make("i"), number = make("b", { textContent: "–" });
        const row = make("li", {}, make("span", { title: au.muscle, textContent: au.name }),
          make("em", {}, bar), number);
        row.querySelector("em").style.setProperty("--threshold", `${100 * au.threshold}%`);
        return { row, bar, number };
      });
      this.canvas = make("canvas", { id: "live-timeline", role: "img",
        ariaLabel: "The last 30 seconds: spotted expressions above, and below how likely each Action Unit is" });
      this.canvas.style.height = `${LANE * (this.aus.length + 1) + 20}px`;
      this.log = make("ol", { id: "live-expressions" });
      this.append(
        make("p", {}, this.button, make("small", { textContent: "Space or Enter starts and stops, Esc stops." })),
        this.message,
        this.remark = make("p", { className: "au-note", hidden: true }),
        this.pictures = make("div", { className: "live-pictures", hidden: true }, this.video, this.face),
        this.speed,
        this.results = make("div", { hidden: true },
          make("h3", { textContent: "Action Units in the last second" }),
          make("p", { textContent: "Movements count: an expression that is held has none." }),
          make("ul", { id: "live-aus" }, ...this.rows.map((one) => one.row)),
          make("h3", { textContent: "Over time" }), this.canvas,
          make("h3", { textContent: "Expressions" }), this.log));
      this.noExpression();
      this.button.addEventListener("click", () => (this.running ? this.stop("Stopped. Nothing was kept.") : this.start()));
      this.escape = (event) => { if (event.key === "Escape" && this.running) this.stop("Stopped. Nothing was kept."); };
      document.addEventListener("keydown", this.escape);
      this.leaving = () => this.stop("");
      addEventListener("pagehide", this.leaving);
    }

    disconnectedCallback() {
      this.stop("");
      document.removeEventListener("keydown", this.escape);
      removeEventListener("pagehide", this.leaving);
    }

    async start() {
      this.say("Waiting for the camera.");
      if (!navigator.mediaDevices) {
        return this.say("Browsers give the camera to pages of this machine and to pages served over https only.");
      }
      const wanted = { audio: false, video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } } };
      this.running = {};
      const run = this.running;
      this.button.textContent = "Stop";
      try {
        run.stream = await navigator.mediaDevices.getUserMedia(wanted);
        if (this.running !== run) return run.stream.getTracks().forEach((track) => track.stop()); // stopped meanwhile
        this.video.srcObject = run.stream;
        await this.video.play();
      } catch (error) {
        return this.stop(CAMERA_ERRORS[error.name] || `The camera could not be started (${error.name}).`);
      }
      if (this.running !== run) return undefined;
      const drawn = crypto.getRandomValues(new Uint8Array(16));
      Object.assign(run, {
        key: [...drawn].map((byte) => byte.toString(16).padStart(2, "0")).join(""), begun: performance.now(),
        coming: 0, sent: -1e9, took: 0, shown: 0, seen: 0, answered: 0, latency: 0, done: [], history: [],
      });
      for (const track of run.stream.getTracks()) {
        track.addEventListener("ended", () => { if (this.running === run) this.stop("The camera was unplugged."); });
      }
      this.pictures.hidden = this.results.hidden = false;
      run.timer = setInterval(() => this.tick(run), TICK);
      this.say("The first picture is being looked at.");
      return this.next(run);
    }

    stop(words) {
      const run = this.running;
      if (!run) return;
      this.running = null;
      clearInterval(run.timer);
      if (run.stream) run.stream.getTracks().forEach((track) => track.stop());
      this.video.srcObject = null;
      this.pictures.hidden = this.face.hidden = true;
      this.speed.textContent = "";
      if (run.key) fetch(`live/stop/${run.key}`, { method: "POST", keepalive: true, body: "" }).catch(() => {});
      this.button.textContent = "Start the camera";
      this.say(words);
    }

    now(run) { return (performance.now() - run.begun) / 1000; }

    say(words) { if (this.message.textContent !== words) this.message.textContent = words; }

    next(run) {
      if (this.running !== run) return;
      const again = (_, about) => {
        run.before ??= about.presentedFrames ? about.presentedFrames - 1 : 0;
        run.seen = about.presentedFrames ? about.presentedFrames - run.before : run.seen + 1;
        this.frame(run).finally(() => this.next(run));
      };
      if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(again);
      else requestAnimationFrame((time) => again(time, {}));
    }

    // A new picture of the camera: sent, or left out.
    async frame(run) {
      if (this.running !== run) return;
      if (!this.checkVisibility()) { this.stop("Stopped, since the page was left. Nothing was kept."); return; }
      const waited = performance.now() - run.sent;
      if (run.coming > 1 || (run.coming === 1 && waited < 0.6 * run.took)) return;
      const { videoWidth, videoHeight } = this.video;
      if (!videoWidth) return;
      const time = this.now(run), scale = Math.min(1, WIDTH / Math.max(videoWidth, videoHeight));
      run.sent = performance.now();
      run.coming += 1;
      this.paper = this.paper || document.createElement("canvas");
      this.paper.width = Math.round(videoWidth * scale);
      this.paper.height = Math.round(videoHeight * scale);
      this.paper.getContext("2d").drawImage(this.video, 0, 0, this.paper.width, this.paper.height);
      const picture = await new Promise((resolve) => { this.paper.toBlob(resolve, "image/jpeg", QUALITY); });
      this.ask(run, picture, time);
    }

    async ask(run, picture, time) {
      const begun = performance.now();
      try {
        const headers = { "Content-Type": "image/jpeg" };
        const address = `live/frame/${run.key}?time=${time.toFixed(4)}`;
        const reply = await fetch(address, { method: "POST", body: picture, headers });
        const said = await reply.json().catch(() => ({ error: "The server's answer cannot be read." }));
        if (this.running !== run) return;
        if (said.error) this.stop(sentence(said.error));
        else if (!said.left_out) this.show(run, said);
      } catch {
        if (this.running === run) this.stop("The server no longer answers. Is `aullm demo` still running?");
      } finally {
        run.coming -= 1;
        run.took = performance.now() - begun;
      }
    }

    show(run, said) {
      run.shown = said.time;
      run.latency = this.now(run) - said.time;
      run.answered += 1;
      run.done.push(this.now(run));
      this.say(said.message || "The face is followed.");
      this.remark.hidden = !said.remark;
      this.remark.textContent = sentence(said.remark);
      this.face.hidden = !said.face;
      if (said.face) this.face.src = `data:image/jpeg;base64,${said.face}`;
      this.aus.forEach((au, at) => {
        const { row, bar, number } = this.rows[at], likely = said.probabilities ? said.probabilities[at] : null;
        number.textContent = likely === null ? "–" : likely.toFixed(2);
        bar.style.width = `${100 * (likely || 0)}%`;
        row.classList.toggle("active", likely !== null && likely >= au.threshold);
      });
      run.history.push({ time: said.time, likely: said.probabilities });
      while (run.history[0].time < said.time - SPAN) run.history.shift();
      run.expressions = said.expressions;
      this.list(run);
      this.draw(run);
      this.tick(run);
    }

    // How far behind the page is: grows while an answer is waited for.
    tick(run) {
      const now = this.now(run);
      while (run.done.length && run.done[0] < now - 2) run.done.shift();
      const rate = run.done.length / Math.min(Math.max(now, 0.5), 2), waiting = now - run.shown;
      const behind = waiting > run.latency + 1 ? waiting : run.latency;
      const left = Math.max(run.seen - run.answered - run.coming, 0);
      Object.assign(this.dataset, { behind: behind.toFixed(3), rate: rate.toFixed(1) });
      this.speed.textContent =
        `${seconds(behind)} behind the camera, ${rate.toFixed(1)} updates a second` +
        (left ? `, ${Math.round((100 * left) / run.seen)} % of the camera's pictures left out` : "") + ".";
    }

    noExpression() {
      this.log.replaceChildren(make("li", { textContent: "None yet. An expression shows about a second after it." }));
    }

    list(run) {
      const words = run.expressions.slice(-6).reverse().map((one) =>
        `${one.onset.toFixed(1)} s: ${one.kind === "micro" ? "micro-expression" : "longer expression"}, ` +
        `${(one.offset - one.onset).toFixed(2)} s long${one.settled ? "" : " (being looked at)"}`);
      if (!words.length) return this.noExpression();
      if (words.join() !== this.told) this.log.replaceChildren(...words.map((text) => make("li", { textContent: text })));
      this.told = words.join();
      return undefined;
    }

    draw(run) {
      const ratio = devicePixelRatio || 1, wide = this.canvas.clientWidth, high = LANE * (this.aus.length + 1) + 20;
      if (this.canvas.width !== Math.round(wide * ratio)) this.canvas.width = Math.round(wide * ratio);
      if (this.canvas.height !== Math.round(high * ratio)) this.canvas.height = Math.round(high * ratio);
      const pen = this.canvas.getContext("2d"), ink = getComputedStyle(this).color;
      pen.setTransform(ratio, 0, 0, ratio, 0, 0);
      pen.clearRect(0, 0, wide, high);
      pen.font = "12px system-ui, sans-serif";
      const end = run.shown, place = (time) => LABEL + ((time - end + SPAN) / SPAN) * (wide - LABEL);
      const bottom = LANE * (this.aus.length + 1);
      pen.fillStyle = ink;
      pen.globalAlpha = 0.25;
      for (let lane = 1; lane <= this.aus.length + 1; lane += 1) pen.fillRect(0, LANE * lane - 1, wide, 1);
      pen.globalAlpha = 1;
      this.aus.forEach((au, at) => {
        const base = LANE * (at + 2) - 1;
        run.history.forEach((one, step) => {
          if (!one.likely) return;
          const from = place(one.time), next = run.history[step + 1];
          const to = next ? Math.min(place(next.time), from + wide / SPAN) : from + 2;
          const tall = one.likely[at] * (LANE - 3);
          pen.fillStyle = one.likely[at] >= au.threshold ? BLUE : PALE;
          pen.fillRect(Math.max(from, LABEL), base - tall, Math.max(to - Math.max(from, LABEL), 0.5), tall);
        });
        pen.fillStyle = ink;
        pen.fillText(au.label, 2, base - 3);
      });
      pen.fillText("spotted", 2, LANE - 4);
      pen.fillStyle = ORANGE;
      for (const one of run.expressions) {
        const from = Math.max(place(one.onset), LABEL), to = place(one.offset);
        if (to < LABEL) continue;
        pen.globalAlpha = one.settled ? 1 : 0.5;
        pen.fillRect(from, 2, Math.max(to - from, 3), LANE - 5);
        pen.globalAlpha = 0.12;
        pen.fillRect(from, LANE, Math.max(to - from, 3), bottom - LANE);
      }
      pen.globalAlpha = 1;
      pen.fillStyle = ink;
      for (let time = Math.ceil((end - SPAN) / 10) * 10; time <= end; time += 10) {
        if (time >= 0) pen.fillText(`${time} s`, Math.min(Math.max(place(time) - 10, LABEL), wide - 28), bottom + 14);
      }
    }
  }
  customElements.define("aullm-live", Live);
})();
