package main

import (
	"bytes"
	"encoding/xml"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

func result(keys string, samples map[string][]float64, names ...string) Result {
	r := newResult(strings.Split(keys, ",")...)
	r.Names = names
	for store, values := range samples {
		for _, v := range values {
			r.Samples[store] = append(r.Samples[store], Sample{Value: v})
		}
	}
	return r
}

// Contestants that miss a contest have a dash, and the columns of others stay in place.
func TestTableHasAColumnForEachContest(t *testing.T) {
	s := &sheet{file: "work", columns: []column{{"ops_per_s", value}}, results: []Result{
		result("get,1", map[string][]float64{"raw": {100, 100, 100}, "ours": {80, 90, 100}}, "raw", "ours"),
		result("get,64", map[string][]float64{"ours": {2000}}, "ours"),
	}}
	r := report{sheets: []*sheet{s}}
	got, err := r.table("store", "1|work|ops_per_s|get,1", "other|other|ops_per_s|get,1", "64|work|ops_per_s|get,64")
	want := `| store | 1 | other | 64 |
| --- | --: | --: | --: |
| raw | 100 | - | - |
| ours | 90.0 | - | 2,000 |
`
	if got != want || err != nil {
		t.Errorf("got\n%swant\n%s%v", got, want, err)
	}
	if _, err := r.table("store", "1|work"); err == nil {
		t.Error("half a column is one")
	}
}

func TestSheetIsCSVWithUnits(t *testing.T) {
	s := sheet{file: "f", keys: []string{"callers"}, reference: "go-redis, raw", columns: []column{{"ops_per_s", value}, {"p50_us", p50}, {"p99_us", p99}}}
	r := newResult("64")
	for _, v := range []float64{1000, 2000, 3000} {
		r.add("go-redis, raw", Sample{Value: v, P50: 7, P99: 8, Timed: 199})
		r.add("ours", Sample{Value: v / 3, P50: 0.12345, P99: 9, Timed: 200})
	}
	r.Names = append(r.Names, "absent")
	s.results = append(s.results, r)
	got, err := s.csv()
	if err != nil {
		t.Fatal(err)
	}
	want := `callers,store,turns,ops_per_s,ops_per_s_q1,ops_per_s_q3,ratio_to_go_redis_raw,p50_us,p99_us
64,"go-redis, raw",3,2000,1500,2500,1.000,7.000,
64,ours,3,666.7,500.0,833.3,0.3333,0.1235,9.000
`
	if string(got) != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !s.find("64").has("ours") || s.find("1").has("ours") {
		t.Error("a result is not found by its keys")
	}
}

func TestClaimsAreJudgedWithTheQuartiles(t *testing.T) {
	for _, c := range []struct {
		measured Stat
		limit    float64
		most     bool
		want     string
	}{
		{Stat{0.95, 0.9, 1}, 0.9, false, holds},
		{Stat{0.9, 0.9, 0.9}, 0.9, false, holds},
		{Stat{0.85, 0.8, 0.9}, 0.9, false, within},
		{Stat{0.7, 0.69, 0.71}, 0.9, false, fails},
		{Stat{0.7, 0.5, 0.85}, 0.9, false, fails}, // noise is no excuse
		{Stat{0.7, 0.69, 0.71}, 0.9, true, holds},
		{Stat{1.55, 1.5, 1.6}, 1.5, true, within},
		{Stat{2, 1.9, 2.1}, 1.5, true, fails},
		{statOf(nil), 1.5, true, fails},
	} {
		if got := (judged{claim{limit: c.limit, most: c.most}, c.measured}).verdict(); got != c.want {
			t.Errorf("%+v: %s", c, got)
		}
	}
}

func TestVerdictsAreOfTheSheets(t *testing.T) {
	growth := result("redis,tasks of one owner,create under a limit", map[string][]float64{"10": {2}, "100": {9}, "1000": {4}}, "10", "100", "1000")
	small, large := result("update,1024,64", map[string][]float64{ours: {100}, model: {50}}), result("update,65536,16", map[string][]float64{ours: {100}, model: {125}})
	var sheets []*sheet
	for file, results := range map[string][]Result{"growth": {growth}, "servers": {small, large}} {
		sheets = append(sheets, &sheet{file: file, columns: []column{{"figure", value}}, results: results})
	}
	r := report{sheets: sheets}
	want := `| create under a limit: the server's time, most tasks to least | ≤ 1.50 | 2.00 | 2.00 to 2.00 | **fails** |
| on Redis, update: speed, of the fastest peer (65536 B, 16, model) | ≥ 1.00 | 0.80 | 0.80 to 0.80 | **fails** |
`
	got := r.verdicts()
	if !strings.HasSuffix(got, want) || !strings.HasPrefix(got, "Of 2 claims 0 hold, 0 are missed within the quartiles of the measurement, and 2 fail.\n") {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// RESULTS.md fits on three screens, and has the texts of this source. A change of a text needs
// another run, or the same change in the results.
func TestResultsAreOfThisSourceAndShort(t *testing.T) {
	raw, err := os.ReadFile("RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	written := string(raw)
	for _, text := range regexp.MustCompile(`{{.*?}}`).Split(page, -1) {
		if !strings.Contains(written, text) {
			t.Errorf("RESULTS.md lacks this text of results.tmpl:\n%s", text)
		}
	}
	lines := strings.Split(written, "\n")
	if len(lines) > 170 {
		t.Errorf("%d lines", len(lines))
	}
	for i, line := range lines {
		if n := utf8.RuneCountInString(line); n > 125 && !strings.HasPrefix(line, "[") { // links count by their names
			t.Errorf("line %d has %d characters", i+1, n)
		}
	}
	for _, file := range regexp.MustCompile(`\]\(([^#)][^)]*)\)`).FindAllStringSubmatch(written, -1) {
		if _, err := os.Stat(file[1]); err != nil {
			t.Error(err)
		}
	}
}

func TestPictureHasItsLinesAndIsWellFormed(t *testing.T) {
	works := []Result{
		result("redis", map[string][]float64{"10": {0.2}, "1000": {30}, "1000000": {3.5}}, "10", "1000", "1000000"),
		result("redis", map[string][]float64{"10": {7}}, "10"),
	}
	works[0].Keys, works[1].Keys = []string{"redis", growTasks, "a < b"}, []string{"redis", growTasks, "two & more"}
	svg, err := picture("title", "tasks", works)
	if err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []string{"a &lt; b", "two &amp; more", ">title<", ">tasks<"} {
		if !strings.Contains(string(svg), want) {
			t.Errorf("the picture lacks %q", want)
		}
	}
	for _, bad := range []string{"NaN", "Inf"} {
		if strings.Contains(string(svg), bad) {
			t.Errorf("the picture has %s", bad)
		}
	}
	works[0].Names = append(works[0].Names, "many")
	if _, err := picture("title", "tasks", works); err == nil {
		t.Error("a name that is no number is drawn")
	}
}
