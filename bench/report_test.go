package main

import (
	"encoding/xml"
	"io"
	"math"
	"os"
	"strings"
	"testing"
)

func result(name string, samples map[string][]float64, names ...string) Result {
	r := Result{Name: name, Names: names, Samples: make(map[string][]Sample)}
	for who, values := range samples {
		for _, v := range values {
			r.Samples[who] = append(r.Samples[who], Sample{Value: v})
		}
	}
	return r
}

func TestComparisonShowsMedianSpreadAndRatio(t *testing.T) {
	one := result("1 caller", map[string][]float64{"raw": {100, 100, 100}, "ours": {80, 90, 100}}, "raw", "ours")
	many := result("64 callers", map[string][]float64{"raw": {2000}, "late": {1000}}, "raw", "late")
	got := comparison("caption", "store", "raw", []Result{one, many}).markdown()
	want := `caption

| store | 1 caller | 64 callers |
| --- | --: | --: |
| raw | 100 ±0% | 2,000 ±0% |
| ours | 90.0 ±6% · ×0.90 | - |
| late | - | 1,000 ±0% · ×0.50 |
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestTargetsAreJudgedWithTheSpread(t *testing.T) {
	for _, c := range []struct {
		target Target
		want   string
	}{
		{Target{Measured: Stat{0.95, 0.9, 1}, Limit: 0.9}, pass},
		{Target{Measured: Stat{0.9, 0.9, 0.9}, Limit: 0.9}, pass},
		{Target{Measured: Stat{0.85, 0.8, 0.9}, Limit: 0.9}, spread},
		{Target{Measured: Stat{0.7, 0.69, 0.71}, Limit: 0.9}, miss},
		{Target{Measured: Stat{0.7, 0.5, 0.85}, Limit: 0.9}, miss}, // noise is no excuse
		{Target{Measured: Stat{0.7, 0.69, 0.71}, Limit: 0.9, AtMost: true}, pass},
		{Target{Measured: Stat{1.55, 1.5, 1.6}, Limit: 1.5, AtMost: true}, spread},
		{Target{Measured: Stat{2, 1.9, 2.1}, Limit: 1.5, AtMost: true}, miss},
		{Target{Measured: statOf(nil), Limit: 1.5, AtMost: true}, miss},
	} {
		if got := c.target.verdict(); got != c.want {
			t.Errorf("%+v: %s, want %s", c.target, got, c.want)
		}
	}
	r := newReport()
	r.atLeast(0.9, Stat{1, 1, 1}, "get at %d callers", 64)
	r.atMost(0.5, Stat{1, 1, 1}, "slow")
	if got := missed(r.targets); len(got) != 1 || got[0].What != "slow" {
		t.Errorf("missed: %v", got)
	}
	var b strings.Builder
	s := r.section("Question")
	s.text("An answer.")
	if err := r.write(&b, []string{"machine: this one"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"- machine: this one\n", "## Targets", "| get at 64 callers | at least 0.90 | 1.00 | 1.00 to 1.00 | pass |",
		"| slow | at most 0.50 | 1.00 | 1.00 to 1.00 | **miss** |", "Of 2 promised ratios 1 are kept, 0 are", "## Question\n\nAn answer.\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the report lacks %q:\n%s", want, b.String())
		}
	}
}

// Who changes a text runs everything again, or puts it into the results too.
func TestTheResultsHaveTheTextsOfThisSource(t *testing.T) {
	results, err := os.ReadFile("RESULTS.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"participants": participants, "reading": reading, "absent": absent} {
		if !strings.Contains(string(results), text) {
			t.Errorf("RESULTS.md has another %s", name)
		}
	}
}

func TestChartIsWellFormedAndInside(t *testing.T) {
	c := chart{title: "a < b", x: "tasks", y: "µs", lines: []chartLine{
		{"one", [][2]float64{{10, 0.2}, {1000, 30}, {1_000_000, 3.5}}}, {"two & more", [][2]float64{{10, 7}}},
	}}
	for _, svg := range [][]byte{c.svg(), chart{}.svg()} {
		d := xml.NewDecoder(strings.NewReader(string(svg)))
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			e, ok := token.(xml.StartElement)
			if !ok {
				continue
			}
			for _, a := range e.Attr {
				if strings.Contains(a.Value, "NaN") || strings.Contains(a.Value, "Inf") {
					t.Errorf("%s %s=%q", e.Name.Local, a.Name.Local, a.Value)
				}
			}
		}
	}
	if got := axisOf([]float64{0.2, 30}); got != (axis{-1, 2}) {
		t.Errorf("axis %v", got)
	}
	if got := (axis{0, 2}).at(10); math.Abs(got-0.5) > 1e-9 {
		t.Errorf("10 is at %v of 1 to 100", got)
	}
	if got := (axisOf([]float64{10})); got != (axis{1, 2}) {
		t.Errorf("axis of one value: %v", got)
	}
	if got := tick(-1) + " " + tick(4); got != "0.1 10,000" {
		t.Error(got)
	}
}
