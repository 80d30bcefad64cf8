package main

import (
	"slices"
	"testing"
)

func TestSwappedExchangesTwoArguments(t *testing.T) {
	args := []any{"evalsha", "sha", 3, "key", "id", "data", "1700000000000", "task", "2", "3"}
	got, err := swapped(args, "2", "3")
	if err != nil || !slices.Equal(got[8:], []any{"3", "2"}) || !slices.Equal(got[:8], args[:8]) {
		t.Errorf("%v, %v", got, err)
	}
	if !slices.Equal(args[8:], []any{"2", "3"}) {
		t.Error("the arguments themselves are changed")
	}
	for _, bad := range [][]any{{"2"}, {"2", "3", "3"}, {}} {
		if _, err := swapped(bad, "2", "3"); err == nil {
			t.Errorf("%v is taken", bad)
		}
	}
}
