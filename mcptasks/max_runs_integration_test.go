//go:build integration && unix

package mcptasks_test

import (
	"strings"
	"testing"
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// A handler that kills its process kills as many as MaxRuns, and then its task fails; the
// next process lives.
func TestATaskThatKillsItsProcessKillsNoMoreThanMaxRuns(t *testing.T) {
	t.Parallel()
	config := fleetConfig(t)
	replicas := fleet(t, config, 3)
	c := replicas[0].as("alice")
	go func() { // the replica may die before it answers
		if resp, err := c.http.Do(c.request(t.Context(), "tools/call", map[string]any{"name": "kill", "arguments": map[string]any{}})); err == nil {
			_ = resp.Body.Close()
		}
	}()
	killed := time.After(patience)
	var survivor *process
	select {
	case <-replicas[0].done:
	case <-killed:
		t.Fatal("the first replica lives")
	}
	select {
	case <-replicas[1].done:
		survivor = replicas[2]
	case <-replicas[2].done:
		survivor = replicas[1]
	case <-killed:
		t.Fatal("no second replica has begun the task")
	}
	s := records(t, config)
	deadline := time.Now().Add(patience)
	for {
		list, _, err := s.List(t.Context(), "n:alice", "", 10)
		if err != nil || len(list) != 1 {
			t.Fatalf("%d tasks, %v", len(list), err)
		}
		if task := list[0]; task.Status == tasks.Failed {
			got := survivor.as("alice").get(task.ID)
			if reason := failedReason(t, got); !strings.Contains(reason, "begun as often as it may") || task.LostRuns != 2 {
				t.Errorf("%d runs lost; it failed with %q", task.LostRuns, reason)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the task is %v", list[0])
		}
		time.Sleep(20 * time.Millisecond)
	}
	if got := textOf(survivor.as("alice").until(survivor.as("alice").create("done", nil), "completed")); got != "as asked" {
		t.Errorf("the survivor says %q", got)
	}
}
