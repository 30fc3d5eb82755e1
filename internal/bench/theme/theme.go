// Package theme has the colours of the pictures that pages show, one for each background: an image cannot ask the page.
package theme

// A Theme has the colours of a page.
type Theme struct{ Text, Quiet, Line, Fill, Good, Bad string }

// Themes are by what the name of a file has behind it: "life" and "life-dark".
var Themes = map[string]Theme{
	"":      {"#1f2328", "#59636e", "#d1d9e0", "#f6f8fa", "#1a7f37", "#cf222e"},
	"-dark": {"#f0f6fc", "#9198a1", "#3d444d", "#151b23", "#3fb950", "#f85149"},
}
