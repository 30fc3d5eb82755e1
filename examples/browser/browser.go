// Package browser has wsauth.js, the browser's side of a connection. The servers of these examples serve it to their
// pages; an application copies the file.
package browser

import (
	_ "embed"
	"net/http"
)

//go:embed wsauth.js
var script []byte

// ServeScript serves wsauth.js, an ES module.
func ServeScript(w http.ResponseWriter, _ *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8") // a browser runs no module of another type
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-cache")
	w.Write(script)
}
