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
	docsLink    = regexp.MustCompile(`\]\(([^()\s]+)\)|(?m)^\[[^\]]+\]:\s+(\S+)$|\b(?:src|srcset)="([^"]+)"`)
	docsHeading = regexp.MustCompile("(?m)^#+ (.*)$")
)

func TestLinksInTheDocsLeadSomewhere(t *testing.T) {
	pages := docsPages(t)
	_, noExamples := os.Stat("examples") // a module of its own: it is missing where only this one was downloaded
	for page, text := range pages {
		text = docsCode.ReplaceAllString(docsFence.ReplaceAllString(text, ""), "")
		for _, match := range docsLink.FindAllStringSubmatch(text, -1) {
			link := match[1] + match[2] + match[3]
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
	written, reasons := docsLiterals(t), docsReasons(t)
	quoted, heading := 0, ""
	for line := range strings.SplitSeq(docsPages(t)["docs/troubleshooting.md"], "\n") {
		if strings.HasPrefix(line, "## ") {
			heading = line
		}
		first, isRow := docsFirstCell(line)
		for _, quote := range docsCode.FindAllString(line, -1) {
			text := strings.Trim(quote, "`")
			inFirst := isRow && strings.Contains(first, quote)
			ok := true
			switch {
			case strings.HasPrefix(text, "wsauth: "):
				ok = slices.Contains(written, text) || docsIsReason(reasons, text)
			case inFirst && heading == "": // the table of responses
				ok = slices.Contains(written, text)
			case inFirst && slices.Contains(docsOfReasons, heading):
				ok = slices.Contains(written, text) || docsIsReason(reasons, text)
			default:
				continue
			}
			if quoted++; !ok {
				t.Errorf("the code does not write %q", text)
			}
		}
	}
	if quoted < 200 {
		t.Errorf("got %d quotes, want 200 at least", quoted)
	}
}

// docsOfReasons are the headings whose tables quote nothing but reasons in their first cells.
var docsOfReasons = []string{
	"## New returns an error", "## 401 token not valid", "## Keys cannot be fetched", "## A key cannot be used",
	"## A logout or a security event is refused", "## 401 token revoked", "## The revocation log fails",
	"## 401 ticket not valid", "## 401 DPoP proof not valid",
}

// docsIsReason reports whether the code writes a text that a row quotes.
func docsIsReason(reasons []docsReason, text string) bool {
	reason := docsBefore.ReplaceAllString(text, "")
	if reason == http.ErrServerClosed.Error() || strings.Trim(reason, "…") == "" {
		return true
	}
	return slices.ContainsFunc(docsPatterns(text), func(row *regexp.Regexp) bool {
		return slices.ContainsFunc(reasons, func(r docsReason) bool { return row.MatchString(r.text) })
	})
}

// docsFirstCell is the first cell of a table's row.
func docsFirstCell(line string) (first string, isRow bool) {
	row, isRow := strings.CutPrefix(line, "| ")
	first, _, _ = strings.Cut(row, " |")
	return first, isRow
}

// docsBefore is what stands before a reason in the log: the kind of the refusal, and whether it is about a key set or
// its discovery.
var docsBefore = regexp.MustCompile(`^(wsauth: [a-z ]+(: |$))?(key set: |discovery: )?`)

// docsPatterns are the patterns that a row stands for, with and without what is before the reason: "…" is anything.
func docsPatterns(row string) (patterns []*regexp.Regexp) {
	for _, text := range []string{row, docsBefore.ReplaceAllString(row, "")} {
		if len(strings.ReplaceAll(text, "…", "")) > 3 { // or it would match every reason
			pattern := strings.ReplaceAll(regexp.QuoteMeta(text), "…", ".*")
			patterns = append(patterns, regexp.MustCompile("^(?:"+pattern+")$"))
		}
	}
	return patterns
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

// Every reason has a row in docs/troubleshooting.md, so that whoever reads it in a log finds it by searching the page.
func TestEveryReasonHasARowInTroubleshooting(t *testing.T) {
	rows := docsRows(t)
	reasons := docsReasons(t)
	for _, r := range reasons {
		if !slices.ContainsFunc(rows, func(row *regexp.Regexp) bool { return row.MatchString(r.text) }) {
			t.Errorf("%s: no row for %q", r.at, r.text)
		}
	}
	if len(reasons) < 180 {
		t.Errorf("got %d reasons, want 180 at least", len(reasons))
	}
}

// docsNoReasons are the texts of two words that never become a reason: values of headers, types of PEM blocks, parts of
// other texts, and what net/http logs, too.
var docsNoReasons = []string{
	"application/jwk-set+json, application/json", "text/plain; charset=utf-8", " realm=…", "DPoP…, …", "DPoP realm=…, …",
	"wsauth dpop nonce ", "wsauth ticket ", "dpop … …",
	`, error="…", error_description="…"`, `, scope="…"`,
	"PUBLIC KEY", "RSA PUBLIC KEY", "PRIVATE KEY", "wsauth: …: …", "wsauth: revocation …: …", "… kid …: …", "; and … more",
	": leave out the slash, and what is behind it", "http: panic serving …: …\n…", `{"…":"…","…":"…"}`,
}

// docsRows are what the first cells of the page's tables quote, as patterns.
func docsRows(t *testing.T) (rows []*regexp.Regexp) {
	t.Helper()
	for line := range strings.SplitSeq(docsPages(t)["docs/troubleshooting.md"], "\n") {
		if first, isRow := docsFirstCell(line); isRow {
			for _, quote := range docsCode.FindAllString(first, -1) {
				rows = append(rows, docsPatterns(strings.Trim(quote, "`"))...)
			}
		}
	}
	return rows
}

// A docsReason is a text of the source, with "…" for what the program fills in, and where it is.
type docsReason struct{ text, at string }

// docsReasons are the texts that can become the reason of a refusal, of a fault that New or FindIssuer is told of, of a
// key that is left out, or of a fetch that fails; and the messages of log records.
func docsReasons(t *testing.T) []docsReason {
	t.Helper()
	var reasons []docsReason
	for _, dir := range []string{
		".", "internal/credential", "internal/jose", "internal/jwks", "internal/life", "internal/origin", "internal/push",
		"internal/revocation", "internal/verify",
	} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				text, below := docsReasonOf(n)
				if strings.ContainsFunc(text, unicode.IsLetter) && !slices.Contains(docsNoReasons, text) {
					reasons = append(reasons, docsReason{text, files.Position(n.Pos()).String()})
				}
				return below
			})
		}
	}
	return reasons
}

// docsReasonOf returns a node's text if it could be a reason: whatever has two words, and what makes an error. It also
// reports whether to look into the node for others.
func docsReasonOf(n ast.Node) (text string, below bool) {
	switch n := n.(type) {
	case *ast.ImportSpec:
		return "", false
	case *ast.Field:
		return "", n.Tag == nil
	case *ast.CallExpr:
		switch called := docsCallee(n.Fun); called {
		case "panic":
			return "", false
		case "errors.New", "c.fault":
			i := strings.Count(called, "c.fault")
			return docsText(n.Args[i]), false
		}
	case *ast.BinaryExpr:
		if text := docsText(n); strings.Contains(text, " ") {
			return text, false
		}
	case *ast.BasicLit:
		if text := docsText(n); strings.Contains(text, " ") {
			return text, false
		}
	}
	return "", true
}

// docsCallee is the name of a function that is called, with what stands before its last dot.
func docsCallee(fun ast.Expr) string {
	switch fun := fun.(type) {
	case *ast.Ident:
		return fun.Name
	case *ast.SelectorExpr:
		if of, ok := fun.X.(*ast.Ident); ok {
			return of.Name + "." + fun.Sel.Name
		}
	}
	return ""
}

var docsVerb = regexp.MustCompile(`%[.\d]*[a-zA-Z]`)

// docsText returns the text of an expression, with "…" for verbs and for everything that is not a literal.
func docsText(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		if text, err := strconv.Unquote(e.Value); err == nil && e.Kind == token.STRING {
			return docsVerb.ReplaceAllString(text, "…")
		}
	case *ast.BinaryExpr:
		if e.Op == token.ADD {
			return docsText(e.X) + docsText(e.Y)
		}
	}
	return "…"
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
