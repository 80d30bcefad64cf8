//go:build integration && unix

package mcptasks_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskstore/taskstore/tasks"
)

const lostReason = "the server that ran this task is gone"

// failedReason returns why a failed task says it failed, the same in both places.
func failedReason(t *testing.T, r reply) string {
	t.Helper()
	failure, _ := r.Result["error"].(map[string]any)
	message, _ := failure["message"].(string)
	if message != r.Result["statusMessage"] {
		t.Errorf("two reasons: %v", r)
	}
	return message
}

// atLeast waits until the task's record has been written that often.
func atLeast(t *testing.T, s *tasks.Store, id string, writes int) {
	t.Helper()
	for deadline := time.Now().Add(patience); int(stored(t, s, id).Version) < writes; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the task was not written %d times", writes)
		}
	}
}

// A client that polls another replica sees a dead runner's task fail when the lease is
// over.
func TestKilledReplica(t *testing.T) {
	t.Parallel()
	config := fleetConfig(t)
	replicas := fleet(t, config, 3)
	one, two, three := replicas[0], replicas[1].as("alice"), replicas[2].as("alice")
	id := one.as("alice").create("wait", nil)
	one.await("wait started")
	watched := three.listen(t.Context(), map[string]any{"taskIds": []string{id}})
	next(t, watched) // the acknowledgement
	next(t, watched) // the task as it is
	s := records(t, config)
	written := int(stored(t, s, id).Version)
	atLeast(t, s, id, written+3) // longer than a lease: it lives because it is renewed
	one.Kill()
	killed := time.Now()
	got := two.until(id, "failed")
	took := time.Since(killed)
	if limit := config.Tasks.Lease * 3 / 2; took > limit {
		t.Errorf("it took %v to see that the task is lost, more than %v", took, limit)
	}
	t.Logf("with a lease of %v the task failed %v after the kill", config.Tasks.Lease, took)
	if reason := failedReason(t, got); reason != lostReason {
		t.Errorf("the reason is %q", reason)
	}
	if e := next(t, watched); e.Params["status"] != "failed" || e.Params["statusMessage"] != lostReason {
		t.Errorf("the push: %s", e.Raw)
	}
}

// A runner that was stopped past its lease cannot undo the writes of other replicas.
func TestSuspendedReplica(t *testing.T) {
	t.Parallel()
	config := fleetConfig(t)
	replicas := fleet(t, config, 3)
	one, two, three := replicas[0], replicas[1].as("alice"), replicas[2].as("alice")
	id := one.as("alice").create("stubborn", nil)
	one.await("stubborn started")
	s := records(t, config)
	atLeast(t, s, id, 3) // it writes
	one.Suspend(s)
	before := two.until(id, "failed")
	if reason := failedReason(t, before); reason != lostReason {
		t.Errorf("the reason is %q", reason)
	}
	settled := stored(t, s, id)
	one.Resume()
	one.await("stubborn refused")
	if got := one.await("stubborn ended"); got != "stubborn ended lost" {
		t.Errorf("the runner said %q", got)
	}
	one.Stop() // its last writes are over
	if after := three.get(id); after.String() != before.String() {
		t.Errorf("before %v\nafter %v", before, after)
	}
	if now := stored(t, s, id); now.Version != settled.Version || now.Revision != settled.Revision {
		t.Errorf("a lost runner wrote: version %d, then %d; revision %d, then %d",
			settled.Version, now.Version, settled.Revision, now.Revision)
	}
}

// slow are options with which polls and renewals come too late for any test: a fast
// change then comes by hints.
func slow(c replicaConfig) replicaConfig {
	c.Tasks.PollInterval = 10 * time.Minute
	c.Tasks.Lease = time.Hour
	return c
}

func TestCancelByHint(t *testing.T) {
	t.Parallel()
	replicas := fleet(t, slow(fleetConfig(t)), 3)
	id := replicas[0].as("alice").create("wait", nil)
	replicas[0].await("wait started")
	if got := replicas[1].as("alice").cancel(id); got.Error != nil {
		t.Fatal(got)
	}
	if got := replicas[0].await("wait ended"); !strings.HasPrefix(got, "wait ended cancelled") {
		t.Errorf("the handler said %q", got)
	}
	replicas[2].as("alice").until(id, "cancelled")
}

// Pushes reach clients that listen on another replica, by hints alone.
func TestPushesFromAnotherReplica(t *testing.T) {
	t.Parallel()
	replicas := fleet(t, slow(fleetConfig(t)), 2)
	one, two := replicas[0].as("alice"), replicas[1].as("alice")
	waiting, asking := one.create("wait", nil), one.create("ask", nil)
	one.until(asking, "input_required")
	events := two.listen(t.Context(), map[string]any{"taskIds": []string{waiting, asking}})
	next(t, events) // the acknowledgement
	status := map[any]any{}
	until := func(want map[any]any) {
		t.Helper()
		for !maps.Equal(status, want) {
			e := next(t, events)
			validate(t, "TaskStatusNotification", e.Raw)
			status[e.Params["taskId"]] = e.Params["status"]
		}
	}
	until(map[any]any{waiting: "working", asking: "input_required"})
	one.update(asking, map[string]any{"first": accept(nil), "second": accept(nil)})
	until(map[any]any{waiting: "working", asking: "completed"})
	one.cancel(waiting)
	until(map[any]any{waiting: "cancelled", asking: "completed"})
	if e := next(t, events); e.Result == nil {
		t.Errorf("all tasks have ended, and then: %s", e.Raw)
	}
}

// Hints only make things fast: without any, all of it still happens.
func TestWithoutHints(t *testing.T) {
	t.Parallel()
	config := fleetConfig(t)
	config.Redis.NoHints = true
	replicas := fleet(t, config, 3)
	one, two, three := replicas[0].as("alice"), replicas[1].as("alice"), replicas[2].as("alice")
	waiting, asking := one.create("wait", nil), one.create("ask", nil)
	replicas[0].await("wait started")
	one.until(asking, "input_required")
	events := three.listen(t.Context(), map[string]any{"taskIds": []string{waiting, asking}})
	if got := two.cancel(waiting); got.Error != nil {
		t.Fatal(got)
	}
	two.update(asking, map[string]any{"first": accept(nil), "second": accept(nil)})
	if got := replicas[0].await("wait ended"); !strings.HasPrefix(got, "wait ended cancelled") {
		t.Errorf("the handler said %q", got)
	}
	status := map[any]any{}
	for e := range events {
		status[e.Params["taskId"]] = e.Params["status"]
		if e.Result != nil {
			break
		}
	}
	if status[waiting] != "cancelled" || status[asking] != "completed" {
		t.Errorf("pushed: %v", status)
	}
}

// A question waits for its answers in the store. The replica that asked may be gone, and
// so may the one that took the first answer.
func TestAnswersOutliveReplicas(t *testing.T) {
	t.Parallel()
	replicas := fleet(t, fleetConfig(t), 3)
	id := replicas[0].as("alice").create("ask", nil)
	replicas[0].as("alice").until(id, "input_required")
	replicas[0].Kill()
	if got := replicas[1].as("alice").update(id, map[string]any{"first": accept(nil)}); got.Error != nil {
		t.Fatal(got)
	}
	replicas[1].Kill()
	last := replicas[2].as("alice")
	asked, _ := last.until(id, "input_required").Result["inputRequests"].(map[string]any)
	if keys := slices.Collect(maps.Keys(asked)); !slices.Equal(keys, []string{"second"}) {
		t.Errorf("after one answer it asks %v", keys)
	}
	if got := last.update(id, map[string]any{"second": map[string]any{"action": "decline"}}); got.Error != nil {
		t.Fatal(got)
	}
	replicas[2].await("ask resumed")
	if got := textOf(last.until(id, "completed")); got != "accept, decline" {
		t.Errorf("the handler got %q", got)
	}
}

// After the death of all replicas, twice, everything is as it was or goes on.
func TestRestartOfAllReplicas(t *testing.T) {
	t.Parallel()
	config := fleetConfig(t)
	replicas := fleet(t, config, 3)
	one := replicas[0].as("alice")
	ended := map[string]string{} // by id: the final status
	for tool, status := range map[string]string{"done": "completed", "fail": "failed"} {
		id := one.create(tool, nil)
		ended[id] = one.until(id, status).String()
	}
	cancelled := one.create("ask", nil)
	one.until(cancelled, "input_required")
	one.cancel(cancelled)
	ended[cancelled] = one.until(cancelled, "cancelled").String()
	asking := one.create("ask", nil)
	question := one.until(asking, "input_required").String()
	waiting := replicas[1].as("alice").create("wait", nil)
	climbing := replicas[2].as("alice").create("climb", nil)
	replicas[1].await("wait started")
	replicas[2].await("climb in life 1")

	for life := 2; life <= 3; life++ {
		for _, p := range replicas {
			p.Kill()
		}
		replicas = fleet(t, config, 3)
		if life == 2 {
			anyOf(t, replicas, "climb in life 2")
		}
	}

	for _, p := range replicas {
		c := p.as("alice")
		for id, want := range ended {
			if got := c.get(id).String(); got != want {
				t.Errorf("before %s\nafter %s", want, got)
			}
		}
		if got := c.get(asking).String(); got != question {
			t.Errorf("before %s\nafter %s", question, got)
		}
	}
	c := replicas[0].as("alice")
	c.update(asking, map[string]any{"first": accept(nil), "second": accept(nil)})
	if got := textOf(replicas[1].as("alice").until(asking, "completed")); got != "accept, accept" {
		t.Errorf("the handler got %q", got)
	}
	if reason := failedReason(t, c.until(waiting, "failed")); reason != lostReason {
		t.Errorf("the reason is %q", reason)
	}
	if got := textOf(c.until(climbing, "completed")); got != "up after 12" {
		t.Errorf("resumed: %q", got)
	}
}

// anyOf waits until one of the replicas has said the line.
func anyOf(t *testing.T, replicas []*process, line string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		for _, p := range replicas {
			p.mu.Lock()
			found := slices.Contains(p.said, line)
			p.mu.Unlock()
			if found {
				return
			}
		}
	}
	t.Fatalf("no replica has said %q", line)
}

// A replica that is asked to end finishes the tasks that it can, hands over those that
// others can resume, and fails the rest with the reason.
func TestStoppedReplica(t *testing.T) {
	t.Parallel()
	config := fleetConfig(t)
	config.Drain = 100 * time.Millisecond
	replicas := fleet(t, config, 1)
	one := replicas[0].as("alice")
	finishing, waiting, climbing := one.create("finish", nil), one.create("wait", nil), one.create("climb", nil)
	replicas[0].await("finish started")
	replicas[0].await("wait started")
	replicas[0].await("climb in life 1")
	replicas[0].Stop()

	two := fleet(t, config, 1)[0]
	two.await("climb in life 2")
	c := two.as("alice")
	if got := textOf(c.get(finishing)); got != "finished in time" {
		t.Errorf("a handler that finished: %q", got)
	}
	got := c.get(waiting)
	if got.Result["status"] != "failed" || failedReason(t, got) != "the server was shut down" {
		t.Errorf("a handler that broke off: %v", got)
	}
	if got := c.get(climbing); got.Result["status"] != "working" {
		t.Errorf("a task that goes on elsewhere: %v", got)
	}
}
