package mcptasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/taskstore/taskstore/tasks"
)

// lines calls each method of logger, with the line that it must write.
var lines = map[string][]struct {
	write func(l logger)
	want  string // level, message: attributes
}{
	"resumed":    {{func(l logger) { l.resumed("t") }, "INFO this server resumes a lost task: tool"}},
	"handedOver": {{func(l logger) { l.handedOver("t") }, "INFO this server hands a task over: tool"}},
	"failed":     {{func(l logger) { l.failed("t", "r") }, "INFO a task failed: reason tool"}},
	"lost":       {{func(l logger) { l.lost("t") }, "INFO a task is lost; this server stops its handler: tool"}},
	"overstays":  {{func(l logger) { l.overstays("t") }, "INFO a task runs on beyond its TTL: tool"}},
	"noTask": {
		{func(l logger) { l.noTask("t", &tasks.LimitError{}) }, "INFO a call could not become a task: error tool"},
		{func(l logger) { l.noTask("t", errors.New("away")) }, "WARN a call could not become a task: error tool"},
	},
	"givenUp":       {{func(l logger) { l.givenUp("t", "r") }, "WARN a task is given up: reason tool"}},
	"renewalFailed": {{func(l logger) { l.renewalFailed("t", errors.New("e")) }, "WARN the renewal of a lease failed: error tool"}},
	"reportLost":    {{func(l logger) { l.reportLost("t", errors.New("e")) }, "WARN an early report of a new task is lost: error tool"}},
	"notInstalled":  {{func(l logger) { l.notInstalled("t") }, "WARN a client that declares tasks got a synchronous answer: call Install for its server: tool"}},
	"tooOld":        {{func(l logger) { l.tooOld() }, "WARN a client could not negotiate a protocol version with tasks: over HTTP, serve Tasks.HTTPHandler, or set StreamableHTTPOptions.Stateless: version"}},
	"installedLate": {{func(l logger) { l.installedLate("s") }, "WARN Options.Tool is set, and receiving middleware was added before Install: it runs around the handlers of those tools; call Install first: server"}},
	"badOptions":    {{func(l logger) { l.badOptions("t", errors.New("e")) }, "ERROR Options.Tool is ignored: it returned invalid options: error tool"}},
	"noFallback":    {{func(l logger) { l.noFallback("t") }, "WARN a client without tasks got no fallback: its caller is anonymous; authenticate it, or set FallbackOptions.Anonymous, or on stdio connect the server to Tasks.Transport: tool"}},
	"cannotFlush":   {{func(l logger) { l.cannotFlush() }, "ERROR subscriptions/listen is refused: the http.ResponseWriter cannot flush; remove http.TimeoutHandler and the like around the handler: method"}},
	"lookingFailed": {{func(l logger) { l.lookingFailed(errors.New("e")) }, "WARN the search for lost tasks failed: error"}},
	"pushesEnd":     {{func(l logger) { l.pushesEnd(errors.New("e")) }, "WARN the pushes of a task stopped: error"}},
	"ownerUnknown":  {{func(l logger) { l.ownerUnknown(errors.New("e")) }, "WARN a request is refused: its owner is unknown: error"}},
	"ownerUnusable": {{func(l logger) { l.ownerUnusable(2) }, "WARN a request is refused: Options.Owner returned an owner that is empty or too long; " +
		"for an anonymous caller return ErrAnonymous: bytes max"}},
	"requestFailed": {{func(l logger) { l.requestFailed("m", errors.New("e")) }, "ERROR a request failed: error method"}},
	"panicked":      {{func(l logger) { l.panicked("t", "k", "s") }, "ERROR a tool handler panicked: stack tool type"}},
	"noResult":      {{func(l logger) { l.noResult("t") }, "ERROR a call has no result: tool"}},
	"noSession":     {{func(l logger) { l.noSession("t", errors.New("e")) }, "ERROR a call has no session: error tool"}},
	"outcomeLost":   {{func(l logger) { l.outcomeLost("t", errors.New("e")) }, "ERROR the outcome of a task is lost: error tool"}},
	"damaged":       {{func(l logger) { l.damaged("t", "p") }, "ERROR a stored task is damaged: part tool"}},
}

// Each line has its level and attributes, and is in the table of the documentation;
// the table has no other, and there is no line without a test.
func TestLogLinesAreThoseOfTheTable(t *testing.T) {
	source, err := os.ReadFile("log.go")
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^//\t(INFO|WARN|ERROR) +(.*?) {2,}(.*)$`).FindAllStringSubmatch(string(source), -1) {
		var attrs []string
		for _, a := range strings.Split(m[3], ", ") {
			name, _, _ := strings.Cut(a, ":")
			attrs = append(attrs, name)
		}
		slices.Sort(attrs)
		table[m[1]+" "+m[2]+": "+strings.Join(attrs, " ")] = true
	}
	for name, cases := range lines {
		for _, c := range cases {
			var out bytes.Buffer
			c.write(logger{slog.New(slog.NewJSONHandler(&out, nil))})
			var line map[string]any
			if err := json.Unmarshal(out.Bytes(), &line); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			message, ours := strings.CutPrefix(fmt.Sprint(line["msg"]), "mcptasks: ")
			got := fmt.Sprint(line["level"], " ", message, ": ")
			for _, key := range []string{"level", "msg", "time"} {
				delete(line, key)
			}
			got += strings.Join(slices.Sorted(maps.Keys(line)), " ")
			if got != c.want || !ours {
				t.Errorf("%s writes %q, not %q", name, got, c.want)
			}
			if !table[got] {
				t.Errorf("the table does not have %q", got)
			}
			delete(table, got)
		}
	}
	for line := range table {
		t.Errorf("no method writes %q", line)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "log.go", source, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && lines[f.Name.Name] == nil {
			t.Errorf("no test has the line of %s", f.Name.Name)
		}
	}
}

// Every line of the package is a method of logger, which can take no id, owner or
// payload.
func TestOnlyTheLoggerLogs(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	other := regexp.MustCompile(`\blog\.to\b|slog\.(Info|Warn|Error|Debug|Log)(Context|Attrs)?\(|\blog\.(Print|Fatal|Panic)|fmt\.Print|os\.Std(out|err)`)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || name == "log.go" {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if found := other.Find(source); found != nil {
			t.Errorf("%s has %s", name, found)
		}
	}
}
