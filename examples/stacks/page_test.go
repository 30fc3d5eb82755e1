package stacks

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func base64URL(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// The Go on these pages is compiled and tested: it is taken from the examples, where each piece stands as it is shown.
func TestTheGoOnThePagesIsThatOfTheExamples(t *testing.T) {
	files, err := filepath.Glob("../*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, name := range files {
		if !strings.HasSuffix(name, "_test.go") {
			source.WriteString(withoutSpace(read(t, name)))
		}
	}
	for _, row := range []struct {
		page, from string // a heading; empty: the whole page
		least      int
	}{
		{"stacks.md", "", 20},
		{"cross-origin.md", "", 3},
		{"migrating.md", "\n## From gorilla's connection to coder's\n", 3},
	} {
		_, text, ok := strings.Cut(read(t, "../../docs/"+row.page), row.from)
		shown := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(text, -1)
		if !ok || len(shown) < row.least {
			t.Errorf("%s: got %d pieces of Go, want %d at least", row.page, len(shown), row.least)
		}
		for _, piece := range shown {
			if !strings.Contains(source.String(), withoutSpace(piece[1])) {
				t.Errorf("%s: no example has\n%s", row.page, piece[1])
			}
		}
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func withoutSpace(s string) string { return strings.Join(strings.Fields(s), "") }
