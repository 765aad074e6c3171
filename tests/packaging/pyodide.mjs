// Runs tests/packaging/in_pyodide.py in Pyodide: node pyodide.mjs FOLDER_OF_PYODIDE REPOSITORY PACKAGES URL HUNG_URL. The last
// line of the output is JSON.
import { pathToFileURL } from "node:url";

const [folder, repository, packages, url, hungUrl] = process.argv.slice(2);
// Node would print the line of code where it happened, and that is a megabyte.
process.on("uncaughtException", (error) => { console.error(String(error)); process.exit(1); });
const { loadPyodide } = await import(pathToFileURL(`${folder}/pyodide.mjs`));
const python = await loadPyodide();
for (const [from, to] of [[repository, "/repository"], [packages, "/packages"]]) {
  python.FS.mkdirTree(to);
  python.FS.mount(python.FS.filesystems.NODEFS, { root: from }, to);
}
const problems = [];
try {
  await python.loadPackage("numpy", { messageCallback() {}, errorCallback: (text) => problems.push(text) });
} catch (error) {
  problems.push(String(error));
}
python.globals.set("has_numpy", "numpy" in python.loadedPackages);
python.globals.set("url", url);
python.globals.set("hung_url", hungUrl);
const found = await python.runPythonAsync(`
import json, sys, time
sys.dont_write_bytecode = True
sys.path[:0] = ["/repository", "/packages"]
import chroma_nb
loaded = sorted({"numpy", "requests", "jinja2"} & set(sys.modules))
from chroma_nb.api._http import ServerConnection
from chroma_nb.errors import ServerUnavailableError
connection = ServerConnection(chroma_nb.Settings(url=url, retries=0))
place = ("api", "v2", "tenants", "default_tenant", "databases", "default_database", "collections")
made = connection.request("POST", place, {"name": "from pyodide".replace(" ", "-"), "get_or_create": True})
names = [one["name"] for one in connection.request("GET", place)]
try:
    ServerConnection(chroma_nb.Settings(url="http://127.0.0.1:9", retries=0)).request("GET", place)
    gone = ""
except ServerUnavailableError as error:
    gone = str(error)
import chroma_nb.api._http
# A request has all of its time, and not that of a connection.
chroma_nb.api._http._CONNECT_SECONDS = 0.01
started = time.monotonic()
try:
    settings = chroma_nb.Settings(url=hung_url, retries=0, timeout_seconds=1.0)
    ServerConnection(settings).request("GET", place)
    late = ""
except ServerUnavailableError as error:
    late = str(error)
waited = time.monotonic() - started
found = {"late": late, "waited": waited, "platform": sys.platform, "loaded": loaded, "names": names, "gone": gone, "has_numpy": has_numpy}
if has_numpy:
    sys.path.insert(0, "/repository/tests/packaging")
    import in_pyodide
    found |= {"pages": in_pyodide.pages(url), "refusals": in_pyodide.refusals(url)}
json.dumps(found)
`);
console.log(JSON.stringify({ ...JSON.parse(found), version: python.version, problems }));
process.exit(0);
