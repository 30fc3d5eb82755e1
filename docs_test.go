package wsauth_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// The pages for people: README.md, and what is in docs, examples and .github.
func docsPages(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "examples/*.md", ".github/*.md"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			pages[file] = string(text)
		}
	}
	if len(pages) < 7 {
		t.Fatalf("%d pages", len(pages))
	}
	return pages
}

var (
	docsFence   = regexp.MustCompile("(?ms)^```(\\w*)\n(.*?)^```$")
	docsCode    = regexp.MustCompile("``.*?``|`[^`\n]*`")
	docsLink    = regexp.MustCompile(`\]\(([^()\s]+)\)|(?m)^\[[^\]]+\]:\s+(\S+)$`)
	docsHeading = regexp.MustCompile("(?m)^#+ (.*)$")
)

func TestLinksInTheDocsLeadSomewhere(t *testing.T) {
	pages := docsPages(t)
	_, noExamples := os.Stat("examples") // a module of its own: it is missing where only this one was downloaded
	for page, text := range pages {
		text = docsCode.ReplaceAllString(docsFence.ReplaceAllString(text, ""), "")
		for _, match := range docsLink.FindAllStringSubmatch(text, -1) {
			link := match[1] + match[2]
			if strings.Contains(link, "://") {
				continue
			}
			target, anchor, _ := strings.Cut(link, "#")
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			if noExamples != nil && strings.HasPrefix(filepath.ToSlash(file), "examples/") {
				continue
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: %s: %v", page, link, err)
			} else if anchor != "" && !slices.Contains(docsAnchors(pages[file]), anchor) {
				t.Errorf("%s: %s: no such heading", page, link)
			}
		}
	}
}

// docsAnchors are the anchors that GitHub makes of the headings of a page.
func docsAnchors(text string) []string {
	var anchors []string
	for _, heading := range docsHeading.FindAllStringSubmatch(docsFence.ReplaceAllString(text, ""), -1) {
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, heading[1]))
	}
	return anchors
}

// Programs of the pages are compiled, if they need no other modules than this one does. All other Go has to parse.
// TestThePageAboutProvidersShowsWhatIsTested is stricter with docs/providers.md.
func TestGoInTheDocsCompiles(t *testing.T) {
	overlay := map[string]map[string]string{"Replace": {}}
	var programs []string
	for page, text := range docsPages(t) {
		for _, block := range docsFence.FindAllStringSubmatch(text, -1) {
			if block[1] != "go" || page == "docs/providers.md" {
				continue
			}
			file, err := docsParse(block[2])
			if err != nil {
				t.Errorf("%s: %v in\n%s", page, err, block[2])
				continue
			}
			if !strings.HasPrefix(block[2], "package main\n") || slices.ContainsFunc(file.Imports, docsForeign) {
				continue
			}
			program := "docs_program" + strconv.Itoa(len(programs))
			source := filepath.Join(t.TempDir(), "main.go")
			if err := os.WriteFile(source, []byte(block[2]), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay["Replace"][filepath.Join(program, "main.go")] = source
			programs = append(programs, "./"+program)
		}
	}
	if len(programs) < 4 {
		t.Fatalf("%d programs", len(programs))
	}
	list, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(config, list, 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("go", append([]string{"build", "-overlay", config}, programs...)...).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// docsParse reads a file, declarations, or statements.
func docsParse(source string) (file *ast.File, err error) {
	for _, around := range [][2]string{{"", ""}, {"package p\n", ""}, {"package p\nfunc _() {\n", "\n}"}} {
		file, err = parser.ParseFile(token.NewFileSet(), "", around[0]+source+around[1], parser.SkipObjectResolution)
		if err == nil {
			return file, nil
		}
	}
	return nil, err
}

// docsForeign reports whether an import is of a module that this one does not require.
func docsForeign(imported *ast.ImportSpec) bool {
	path := strings.Trim(imported.Path.Value, `"`)
	host, _, _ := strings.Cut(path, "/")
	return strings.Contains(host, ".") && !strings.HasPrefix(path, "github.com/wsauth/wsauth") &&
		!strings.HasPrefix(path, "github.com/coder/websocket")
}

// What docs/troubleshooting.md quotes is what the code writes, in responses and in the log.
func TestDocsQuoteWhatTheCodeWrites(t *testing.T) {
	written := docsLiterals(t)
	quoted, heading := 0, ""
	for line := range strings.SplitSeq(docsPages(t)["docs/troubleshooting.md"], "\n") {
		if strings.HasPrefix(line, "## ") {
			heading = line
		}
		row, isRow := strings.CutPrefix(line, "| ")
		first, _, _ := strings.Cut(row, " |")
		for _, quote := range docsCode.FindAllString(line, -1) {
			text := strings.Trim(quote, "`")
			inFirst := isRow && strings.Contains(first, quote)
			ok := true
			switch {
			case strings.HasPrefix(text, "wsauth: "):
				ok = docsWritten(written, text)
			case inFirst && heading == "": // the table of responses
				ok = slices.Contains(written, text)
			case inFirst && heading == "## 401 token not valid":
				ok = docsWritten(written, "wsauth: invalid token: "+text)
			case inFirst && heading == "## New returns an error":
				ok = docsCaused(written, text)
			default:
				continue
			}
			if quoted++; !ok {
				t.Errorf("the code does not write %q", text)
			}
		}
	}
	if quoted < 60 {
		t.Errorf("%d quotes", quoted)
	}
}

// docsWritten reports whether the code writes a text: a message, or a kind of refusal with its cause behind it.
func docsWritten(literals []string, text string) bool {
	for _, k := range kinds {
		if cause, ok := strings.CutPrefix(text, k.err.Error()+": "); ok && docsCaused(literals, cause) {
			return true
		}
	}
	return text == "wsauth: …" || slices.Contains(literals, text)
}

// docsCaused reports whether an error has this text. At its end, "…" stands for anything.
func docsCaused(literals []string, cause string) bool {
	head, open := strings.CutSuffix(cause, "…")
	if head == "" || cause == http.ErrServerClosed.Error() {
		return true
	}
	for _, l := range literals {
		before, wraps := strings.CutSuffix(l, "%w")
		inner, found := strings.CutPrefix(cause, before)
		behind, named := strings.CutPrefix(l, "%s: ")
		if l == cause || open && strings.HasPrefix(l, head) || named && strings.HasSuffix(cause, ": "+behind) ||
			wraps && before != "" && found && docsCaused(literals, inner) {
			return true
		}
	}
	return false
}

// docsLiterals are the strings in the library's source.
func docsLiterals(t *testing.T) []string {
	t.Helper()
	var literals []string
	for _, pattern := range []string{"*.go", "internal/*/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, err := strconv.Unquote(lit.Value)
					if err != nil {
						t.Fatal(err)
					}
					literals = append(literals, text)
				}
				return true
			})
		}
	}
	return literals
}

// The tests that docs/threats.md names are there.
func TestDocsNameTestsThatExist(t *testing.T) {
	var source bytes.Buffer
	for _, pattern := range []string{"*_test.go", "internal/*/*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	names := regexp.MustCompile("`((?:Test|Fuzz)\\w+)`").FindAllStringSubmatch(docsPages(t)["docs/threats.md"], -1)
	for _, name := range names {
		if !bytes.Contains(source.Bytes(), []byte("\nfunc "+name[1]+"(")) {
			t.Errorf("no %s", name[1])
		}
	}
	if len(names) < 40 {
		t.Errorf("%d names", len(names))
	}
}
