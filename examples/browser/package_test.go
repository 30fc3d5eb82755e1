package browser

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"
	"github.com/wsauth/wsauth/examples/browser/browsertest"
	"github.com/wsauth/wsauth/examples/internal/testclient"
)

// run runs a program in a directory and fails the test if the program does.
func run(t *testing.T, dir string, command ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(command, " "), err, out)
	}
}

func TestTheTypesAreThoseOfTheScript(t *testing.T) {
	t.Parallel()
	tsc := browsertest.Module(t, "typescript/bin/tsc")
	out := t.TempDir()
	run(t, ".", "node", tsc, "--project", ".", "--noEmit", "false", "--outDir", out)
	want, err := os.ReadFile(filepath.Join(out, "wsauth.d.ts"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("wsauth.d.ts")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("wsauth.d.ts is not what tsc makes of wsauth.js: run npm run types\ngot:\n%s\nwant:\n%s", got, want)
	}
}

// misuse is what the types must refuse: tsc complains of a line that it expects an error in, and finds none.
const misuse = `import { AuthSocket, nextAfter } from "wsauth-browser";
// @ts-expect-error: no such way
new AuthSocket({ url: "/ws", way: "header", token: () => "" });
// @ts-expect-error: no way
new AuthSocket({ url: "/ws", token: () => "" });
// @ts-expect-error: a number is not a token
new AuthSocket({ url: "/ws", way: "query", token: () => 1 });
const socket = new AuthSocket({ url: new URL("ws://chat.example.com"), way: "ticket", tickets: "/tickets" });
// @ts-expect-error: no such event
socket.on("opened", () => {});
// @ts-expect-error: not what open brings
socket.on("open", ({ detail }) => detail.code);
// @ts-expect-error: a WebSocket does not send this
socket.send({ text: "hello" });
socket.on("closed", ({ detail: { code, next } }) => {
	// @ts-expect-error: nothing like this follows
	next === "again";
	nextAfter(code, "") === "login";
});
`

// consumer makes a directory in which somebody has installed the package and copied the README's TypeScript, and
// compiles that. It returns where the JavaScript is.
func consumer(t *testing.T) string {
	t.Helper()
	tsc := browsertest.Module(t, "typescript/bin/tsc")
	modules := filepath.Dir(browsertest.Module(t, "react"))
	dir := t.TempDir()
	run(t, ".", "npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", dir)
	packed, err := filepath.Glob(filepath.Join(dir, "wsauth-browser-*.tgz"))
	if err != nil || len(packed) != 1 {
		t.Fatalf("npm pack made %q, %v; want one file", packed, err)
	}
	installed := filepath.Join(dir, "node_modules", "wsauth-browser")
	if err := os.MkdirAll(installed, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, installed, "tar", "-xzf", packed[0], "--strip-components=1")
	for _, name := range []string{"react", "@types"} {
		if err := os.Symlink(filepath.Join(modules, name), filepath.Join(dir, "node_modules", name)); err != nil {
			t.Fatal(err)
		}
	}
	files := map[string]string{"package.json": `{"type":"module"}`, "misuse.ts": misuse}
	for _, block := range regexp.MustCompile("(?s)```ts\n(.*?)```").FindAllStringSubmatch(readme(t), -1) {
		name := regexp.MustCompile(`export function (\w+)`).FindStringSubmatch(block[1])
		if name == nil {
			t.Fatalf("the README's TypeScript exports no function:\n%s", block[1])
		}
		files[name[1]+".ts"] = block[1]
	}
	compile := []string{
		"node", tsc, "--strict", "--target", "ES2022", "--module", "NodeNext", "--lib", "ES2023,DOM", "--outDir", "out",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".ts") {
			compile = append(compile, name)
		}
	}
	if len(files) != 4 {
		t.Errorf("got %d files, want two of the README", len(files))
	}
	run(t, dir, compile...)
	return filepath.Join(dir, "out")
}

// react shows what the hook says. StrictMode mounts everything twice.
const reactPage = `<!doctype html><title>test</title><link rel="icon" href="data:,"><div id="root"></div>
<script src="/react.js"></script><script src="/react-dom.js"></script>
<script type="importmap">{"imports": {"react": "/react.mjs", "wsauth-browser": "/wsauth.js"}}</script>
<script type="module">
import { useAuthSocket } from "/useAuthSocket.js";
const { createElement, StrictMode, useState } = React;
const token = async () => (await fetch("/token", { method: "POST" })).text();
function Chat() {
	const [last, setLast] = useState("");
	const { state, send } = useAuthSocket({ url: "/ws", way: "subprotocol", token }, (data) => setLast(data));
	return createElement("button", { onClick: () => send(JSON.stringify({ text: "how are you?" })) }, state + " " + last);
}
window.root = ReactDOM.createRoot(document.getElementById("root"));
root.render(createElement(StrictMode, null, createElement(Chat)));
</script>`

func TestTheReadmesTypeScriptCompilesAndItsHookRunsInReact(t *testing.T) {
	t.Parallel()
	out := consumer(t)
	var tokens, dialled atomic.Int32
	left := make(chan error, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, reactPage)
	})
	mux.HandleFunc("GET /wsauth.js", ServeScript)
	mux.Handle("GET /useAuthSocket.js", http.FileServer(http.Dir(out)))
	mux.HandleFunc("GET /react.mjs", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		io.WriteString(w, "export const { useEffect, useRef, useState } = React;")
	})
	for path, file := range map[string]string{
		"GET /react.js":     "react/umd/react.development.js",
		"GET /react-dom.js": "react-dom/umd/react-dom.development.js",
	} {
		file = browsertest.Module(t, file)
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, _ *http.Request) {
		tokens.Add(1)
		io.WriteString(w, good(1))
	})
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) {
		dialled.Add(1)
		accepts(func(conn *websocket.Conn) {
			_, message, err := conn.Read(r.Context())
			if err == nil {
				conn.Write(r.Context(), websocket.MessageText, []byte(fmt.Sprintf("you said %s", message)))
				_, _, err = conn.Read(r.Context())
			}
			left <- err
		})(w, r)
	})
	p := browsertest.Open(t, testclient.Serve(t, mux))
	shows := func(text string) { p.WaitFor(fmt.Sprintf("document.querySelector('button')?.innerText === %q", text)) }
	shows("open")
	p.Eval("document.querySelector('button').click()", nil)
	shows(`open you said {"text":"how are you?"}`)
	p.Eval("root.unmount()", nil)
	if err := <-left; websocket.CloseStatus(err) != websocket.StatusNormalClosure {
		t.Errorf("got %v when the component went, want a close with 1000", err)
	}
	if tokens.Load() != 1 || dialled.Load() != 1 {
		t.Errorf("got %d tokens and %d connections, want one of each", tokens.Load(), dialled.Load())
	}
}
