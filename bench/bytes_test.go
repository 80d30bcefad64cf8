package main

import "testing"

func TestInfoNumberReadsOneField(t *testing.T) {
	if got, err := infoNumber("# Memory\r\nused_memory:123\r\nused_memory_rss:9\r\n", "used_memory"); err != nil || got != 123 {
		t.Error(got, err)
	}
	if _, err := infoNumber("", "used_memory"); err == nil {
		t.Error("a number from empty output")
	}
}
