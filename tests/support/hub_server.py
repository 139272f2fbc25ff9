"""A read-write Hub on the loopback interface: what the installed client calls, on branches, LFS and two kinds of repo.

    with HubServer(fail_every=5) as hub:
        api = HfApi(endpoint=hub.url, token="hf_test")

`fail_every=n` makes every n-th request fail, in turn with a 503, a 429, a line cut before the request was done, a line
cut after it was done (the answer is lost), and a 500 that is not JSON. `fault(method, path, count)` says instead what
happens to a request: one of these, "cut within" (half of what is sent is read, half of the answer is given), "hang"
(no answer ever), or a status such as "504". `hub.requests` is the log: (method, path, what happened); `hub.uploads`
the requests that carried content. HF_HUB_DISABLE_XET must be set in the client's process.
"""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

LFS_SUFFIXES = (".safetensors", ".parquet", ".bin", ".png", ".arrow")
FAILURES = ("503", "429", "cut before", "cut after", "500")


def reach_the_server(monkeypatch) -> list[float]:
    """Let this process's client out of offline mode, and count the waits between retries in place of waiting."""
    from huggingface_hub.utils import _http, disable_progress_bars

    from aullm_hf import hub, hub_client

    waits: list[float] = []
    clock = type("Clock", (), {"sleep": staticmethod(waits.append), "time": staticmethod(time.time)})
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "time", clock)
    monkeypatch.setattr(hub_client, "time", clock)
    monkeypatch.setattr(_http, "time", clock)  # the client retries some of its requests by itself
    disable_progress_bars()
    return waits


class HubServer:
    def __init__(
        self, *, fail_every: int = 0, token: str | None = None, fault: Callable[[str, str, int], str] | None = None
    ):
        self.fail_every, self.token, self.fault = fail_every, token, fault
        self.retry_after, self.says = "0", "a failure"  # of a 429, of other refusals
        self.stated_hash = ""  # of every file, in place of git's own and the LFS object's
        self.closing = threading.Event()
        self.repos: dict[str, dict] = {}  # "model:me/x" -> {"visibility", "branches": {name: sha}, "commits": {..}}
        self.lfs: dict[str, bytes] = {}
        self.requests: list[tuple[str, str, str]] = []
        self.lock = threading.RLock()

    def __enter__(self) -> "HubServer":
        handler = type("Handler", (_Handler,), {"hub": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    @property
    def uploads(self) -> list[tuple[str, str, str]]:
        """Requests that send content: preupload, LFS objects, commits."""
        words = ("/preupload/", "/info/lfs/", "/lfs-store/", "/commit/")
        return [request for request in self.requests if any(word in request[1] for word in words)]

    def files(self, repo_id: str, revision: str = "main", kind: str = "model") -> dict[str, bytes]:
        """The content of a revision."""
        repo = self.repos[f"{kind}:{repo_id}"]
        return {path: self.content(entry) for path, entry in repo["commits"][repo["branches"][revision]].items()}

    def store(self, repo_id: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Put files on a branch as if they had been pushed; the commit."""
        repo = self.repos.setdefault(f"model:{repo_id}", {"visibility": "public", "branches": {}, "commits": {}})
        tree = {}
        for path, content in files.items():
            if path.endswith(LFS_SUFFIXES):
                oid = hashlib.sha256(content).hexdigest()
                self.lfs[oid] = content
                tree[path] = {"lfs": oid}
            else:
                tree[path] = {"content": content}
        return self.commit(repo, branch, tree)

    def content(self, entry: dict) -> bytes:
        return self.lfs[entry["lfs"]] if "lfs" in entry else entry["content"]

    def next_failure(self, method: str, path: str) -> str:
        with self.lock:
            count = len(self.requests) + 1
            if self.fault:
                what = self.fault(method, path, count)
                self.requests.append((method, path, what or "ok"))
                return what
            failing = self.fail_every and count % self.fail_every == 0
            what = FAILURES[(count // self.fail_every - 1) % len(FAILURES)] if failing else ""
            self.requests.append((method, path, what or "ok"))
            return what

    def commit(self, repo: dict, branch: str, tree: dict) -> str:
        sha = hashlib.sha1(f"{len(repo['commits'])}{branch}{sorted(tree)}".encode()).hexdigest()
        repo["commits"][sha] = tree
        repo["branches"][branch] = sha
        return sha


class _Handler(BaseHTTPRequestHandler):
    hub: HubServer
    protocol_version = "HTTP/1.1"
    wbufsize, disable_nagle_algorithm = -1, True  # an answer in one packet: in two, the second waits 40 ms for an ACK

    def log_message(self, *_):
        pass

    def handle_any(self):
        failure = self.hub.next_failure(self.command, self.path)
        length = int(self.headers.get("Content-Length") or 0)
        self.lose_answer, self.half = failure == "cut after", failure == "cut within"
        if self.half and length:
            self.rfile.read(length // 2)
            return self.cut()
        self.body = self.rfile.read(length)
        if failure == "hang":
            self.hub.closing.wait(60)
            return self.cut()
        if failure == "cut before":
            return self.cut()
        if failure == "429":
            return self.answer({"error": "slow down"}, 429, {"Retry-After": self.hub.retry_after})
        if failure == "500":
            return self.answer(b"<html>broken</html>", 500)
        if failure.isdecimal():
            return self.answer({"error": self.hub.says}, int(failure))
        stored_apart = self.path.startswith("/lfs-store/")  # the real one is a signed address, without a token
        if self.hub.token and not stored_apart and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.answer({"error": "Unauthorized"}, 401)
        with self.hub.lock:
            self.route()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = handle_any

    def cut(self):
        self.close_connection = True
        self.connection.close()

    def answer(self, content=b"", status: int = 200, headers: dict | None = None):
        if self.lose_answer:
            return self.cut()
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if self.half else body)
            if self.half:
                self.wfile.flush()
                self.cut()

    def missing(self, what: str, commit: str | None = None):
        at = {"X-Repo-Commit": commit} if commit else {}  # by which the client remembers that a file is not there
        return self.answer({"error": what}, 404, {"X-Error-Code": what, "X-Error-Message": what, **at})

    def route(self):
        url = urlsplit(self.path)
        parts = [unquote(part) for part in url.path.strip("/").split("/")]
        self.query = parse_qs(url.query)
        if parts[0] == "lfs-store":
            self.hub.lfs[parts[1]] = self.body
            return self.answer()
        if parts[:2] == ["api", "validate-yaml"]:
            return self.answer({"errors": [], "warnings": []})
        if parts[:2] == ["api", "whoami-v2"]:
            return self.answer({"type": "user", "name": "me", "orgs": []})
        if parts[:2] == ["api", "repos"]:
            return self.create_or_delete(parts[2])
        if parts[0] == "api":
            kind, repo_id, rest = parts[1][:-1], "/".join(parts[2:4]), parts[4:]
        else:
            kind = "dataset" if parts[0] == "datasets" else "model"
            parts = parts[1:] if kind == "dataset" else parts
            repo_id, rest = "/".join(parts[:2]).removesuffix(".git"), parts[2:]
        repo = self.hub.repos.get(f"{kind}:{repo_id}")
        if repo is None:
            return self.missing("RepoNotFound")
        action, rest = (rest[0], rest[1:]) if rest else ("revision", ["main"])
        known = getattr(self, f"on_{action.replace('-', '_')}", None)
        return known(repo, repo_id, rest) if known else self.answer({"error": f"Not Found: {url.path}"}, 404)

    def create_or_delete(self, what: str):
        asked = json.loads(self.body)
        repo_id = f"{asked.get('organization') or 'me'}/{asked['name']}"
        key = f"{asked.get('type') or 'model'}:{repo_id}"
        if what == "delete":
            self.hub.repos.pop(key, None)
            return self.answer({})
        known = {"url": f"{self.hub.url}/{repo_id}", "id": repo_id}
        if key in self.hub.repos:
            return self.answer({**known, "error": "You already created this model repo"}, 409)
        visibility = asked.get("visibility") or ("private" if asked.get("private") else "public")
        repo = self.hub.repos[key] = {"visibility": visibility, "branches": {}, "commits": {}}
        self.hub.commit(repo, "main", {".gitattributes": {"content": b"*.safetensors filter=lfs\n"}})
        return self.answer(known)

    def resolve(self, repo: dict, revision: str) -> str | None:
        sha = repo["branches"].get(revision, revision)
        return sha if sha in repo["commits"] else None

    def on_revision(self, repo, repo_id, rest):
        sha = self.resolve(repo, rest[0])
        if sha is None:
            return self.missing("RevisionNotFound")
        siblings = [{"rfilename": path} for path in sorted(repo["commits"][sha])]
        private = repo["visibility"] == "private"
        return self.answer({"id": repo_id, "sha": sha, "private": private, "siblings": siblings, "tags": []})

    def on_refs(self, repo, repo_id, rest):
        branches = [
            {"name": name, "ref": f"refs/heads/{name}", "targetCommit": sha} for name, sha in repo["branches"].items()
        ]
        return self.answer({"branches": branches, "converts": [], "tags": []})

    def on_branch(self, repo, repo_id, rest):
        name = rest[0]
        if self.command == "DELETE":
            repo["branches"].pop(name, None)
            return self.answer({})
        if name in repo["branches"]:
            return self.answer({"error": "branch exists"}, 409)
        start = (json.loads(self.body) if self.body else {}).get("startingPoint", "main")
        repo["branches"][name] = self.resolve(repo, start)
        return self.answer({})

    def describe(self, path: str, entry: dict) -> dict:
        content = self.hub.content(entry)
        if stated := self.hub.stated_hash:
            head = b"blob %d\0" % len(content) if stated.startswith("git-") else b""
            oid = hashlib.new(stated.removeprefix("git-"), head + content).hexdigest()
            return {"type": "file", "path": path, "size": len(content), "oid": oid}
        if "lfs" in entry:
            lfs = {"oid": entry["lfs"], "size": len(content), "pointerSize": 130}
            pointer = git_sha(entry["lfs"].encode())
            return {"type": "file", "path": path, "size": len(content), "oid": pointer, "lfs": lfs}
        return {"type": "file", "path": path, "size": len(content), "oid": git_sha(content)}

    def on_tree(self, repo, repo_id, rest):
        sha = self.resolve(repo, rest[0])
        if sha is None:
            return self.missing("RevisionNotFound")
        under, tree = "/".join(rest[1:]), repo["commits"][sha]
        found = [self.describe(p, e) for p, e in sorted(tree.items()) if not under or p.startswith(under + "/")]
        if under and not found:
            return self.missing("EntryNotFound")
        return self.answer(found)

    def on_paths_info(self, repo, repo_id, rest):
        sha = self.resolve(repo, rest[0])
        asked = parse_qs(self.body.decode()).get("paths") or json.loads(self.body)["paths"]
        tree = repo["commits"][sha]
        return self.answer([self.describe(path, tree[path]) for path in asked if path in tree])

    def on_preupload(self, repo, repo_id, rest):
        tree = repo["commits"][self.resolve(repo, rest[0])]
        files = []
        for file in json.loads(self.body)["files"]:
            mode = "lfs" if file["path"].endswith(LFS_SUFFIXES) else "regular"
            there = tree.get(file["path"])
            oid = (there.get("lfs") or git_sha(there["content"])) if there else None
            files.append({"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        return self.answer({"files": files})

    def on_info(self, repo, repo_id, rest):
        """Git LFS batch: where to put what is not stored yet."""
        objects = []
        for item in json.loads(self.body)["objects"]:
            entry = {"oid": item["oid"], "size": item["size"]}
            if item["oid"] not in self.hub.lfs:
                entry["actions"] = {"upload": {"href": f"{self.hub.url}/lfs-store/{item['oid']}"}}
            objects.append(entry)
        return self.answer({"transfer": "basic", "objects": objects})

    def on_commit(self, repo, repo_id, rest):
        sha = self.resolve(repo, rest[0])
        if sha is None:
            return self.missing("RevisionNotFound")
        tree = dict(repo["commits"][sha])
        for line in map(json.loads, self.body.splitlines()):
            value = line["value"]
            if line["key"] == "header" and value.get("parentCommit") not in (None, sha):
                return self.answer({"error": "a commit has happened since"}, 412)
            if line["key"] == "file":
                tree[value["path"]] = {"content": base64.b64decode(value["content"])}
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.lfs:
                    return self.answer({"error": "LFS object missing"}, 400)
                tree[value["path"]] = {"lfs": value["oid"]}
            elif line["key"] == "deletedFile":
                if value["path"] not in tree:
                    return self.missing("EntryNotFound")
                del tree[value["path"]]
            elif line["key"] == "deletedFolder":
                tree = {path: entry for path, entry in tree.items() if not path.startswith(value["path"])}
        new = self.hub.commit(repo, rest[0], tree)
        return self.answer({"commitOid": new, "commitUrl": f"{self.hub.url}/{repo_id}/commit/{new}"})

    def on_resolve(self, repo, repo_id, rest):
        sha, path = self.resolve(repo, rest[0]), "/".join(rest[1:])
        if sha is None:
            return self.missing("RevisionNotFound")
        entry = repo["commits"][sha].get(path)
        if entry is None:
            return self.missing("EntryNotFound", sha)
        content = self.hub.content(entry)
        headers = {"ETag": f'"{entry.get("lfs") or git_sha(content)}"', "X-Repo-Commit": sha}
        headers |= {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes"}
        if asked := self.headers.get("Range"):  # a download that was cut goes on where it was
            start = int(asked.removeprefix("bytes=").split("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(content[start:], 206, headers)
        return self.answer(content, headers=headers)


def git_sha(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
