package main

import "testing"

func TestParseToolReadsItsCSV(t *testing.T) {
	s, err := parseTool(`"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"hmget key version","9433.96","0.377","0.016","0.055","1.999","8.455","8.959"
`)
	if err != nil || s.Value != 9433.96 || s.P50 != 55 || s.P99 != 8455 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, bad := range []string{"", "Could not connect", "\"test\",\"rps\"\n\"get\",\"0\"\n", "\"test\",\"rps\"\n\"get\"\n"} {
		if s, err := parseTool(bad); err == nil {
			t.Errorf("%q: %+v", bad, s)
		}
	}
}

func TestNumbersAreFoundInTexts(t *testing.T) {
	if got := leading("1,000 tasks"); got != 1000 {
		t.Error(got)
	}
	if got := leading("none"); got != 1 {
		t.Error(got)
	}
	if got, err := infoNumber("# Memory\r\nused_memory:123\r\nused_memory_rss:9\r\n", "used_memory"); err != nil || got != 123 {
		t.Error(got, err)
	}
	if _, err := infoNumber("", "used_memory"); err == nil {
		t.Error("a number from empty output")
	}
}
