package main

import (
	"slices"
	"testing"

	"github.com/redis/go-redis/v9"
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

// The store reads the server's clock between its writes, by a script too.
func TestSentIgnoresScriptsWithoutTheTask(t *testing.T) {
	s := new(sent)
	s.begin("task-1")
	for _, args := range [][]any{{"EVALSHA", "sha", "1", "key", "task-1"}, {"evalsha", "sha", "0"}, {"hmget", "key", "version"}} {
		s.note(redis.NewCmd(t.Context(), args...))
	}
	if got := s.command("evalsha"); len(got) != 5 {
		t.Errorf("recorded is %v", got)
	}
	if got := s.command("hmget"); len(got) != 3 {
		t.Errorf("recorded is %v", got)
	}
}
