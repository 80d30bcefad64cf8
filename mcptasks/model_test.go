package mcptasks_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// mayFollow is the state machine of a task as the extension has it, written down
// again: the states that an observer may see after a state, though it may have
// missed some in between.
var mayFollow = map[string][]string{
	"working":        {"working", "input_required", "completed", "failed", "cancelled"},
	"input_required": {"working", "input_required", "completed", "failed", "cancelled"},
	"completed":      {"completed"},
	"failed":         {"failed"},
	"cancelled":      {"cancelled"},
}

func terminal(status string) bool { return len(mayFollow[status]) == 1 }

// A model of one task: the events so far, and so the states and fields that an observer
// may see. A request that is still under way may or may not have had its effect.
type model struct {
	t  testing.TB
	mu sync.Mutex

	owner, id string
	cancelled bool            // a cancel was sent
	lives     int             // how many times a handler was called
	results   map[string]int  // that a handler returned, and in which life
	failures  map[string]bool // messages of the errors that it may have failed with
	messages  map[string]bool // that a handler set
	asked     map[string]bool // keys that a handler used
	answered  map[string]bool // keys, on the wire, with an answer that was taken
	final     string          // the end that an observer saw
}

func newModel(t testing.TB, owner, id string) *model {
	return &model{
		t: t, owner: owner, id: id, results: map[string]int{}, failures: map[string]bool{},
		messages: map[string]bool{"": true}, asked: map[string]bool{}, answered: map[string]bool{},
	}
}

// happens notes a fact that observers may see from now on.
func (m *model) happens(set map[string]bool, what string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	set[what] = true
}

// known returns the facts so far.
func (m *model) known(set map[string]bool) []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Keys(set))
}

// cancels notes that a cancel is on its way.
func (m *model) cancels() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cancelled = true
}

// begins notes that a handler is called, and returns the number of this life: from now
// on the server refuses all that handlers of earlier lives write.
func (m *model) begins() (life int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.lives++
	return m.lives
}

// over reports whether a later life than that has begun.
func (m *model) over(life int) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lives > life
}

// returns notes that a handler returns a result, and returns it.
func (m *model) returns(result string, life int) *mcp.CallToolResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	result = fmt.Sprintf("%s, in life %d", result, life)
	m.results[result] = life
	return text(result)
}

// A view is the last state of a task that one observer has seen.
type view struct {
	model  *model
	who    string
	fields map[string]any
	raw    string // of fields
}

// see checks a sight of the task against the observer's last one and against the model.
// Answered are the keys with answers that had been taken when the observer looked.
func (v *view) see(fields map[string]any, answered []string) {
	m := v.model
	m.mu.Lock()
	defer m.mu.Unlock()
	fields = maps.Clone(fields)
	delete(fields, "_meta")
	delete(fields, "resultType")
	encoded, _ := json.Marshal(fields)
	raw := string(encoded)
	before := v.raw
	bad := func(why string) { m.t.Errorf("%s saw %s:\n%s\nafter\n%s", v.who, why, raw, before) }

	status, _ := fields["status"].(string)
	if mayFollow[status] == nil {
		bad("no status")
		return
	}
	if last, _ := v.fields["status"].(string); v.fields != nil {
		switch {
		case !slices.Contains(mayFollow[last], status):
			bad("a step that is not in the table")
		case terminal(last) && raw != before:
			bad("a change of a task that had ended")
		}
		for _, field := range []string{"taskId", "createdAt", "pollIntervalMs"} {
			if fields[field] != v.fields[field] {
				bad("another " + field)
			}
		}
		if fields["lastUpdatedAt"].(string) < v.fields["lastUpdatedAt"].(string) {
			bad("an older state")
		}
	}
	v.fields, v.raw = fields, raw
	if fields["taskId"] != m.id {
		bad("another task")
	}
	message, _ := fields["statusMessage"].(string)
	requests, _ := fields["inputRequests"].(map[string]any)
	result, _ := fields["result"].(map[string]any)
	failure, _ := fields["error"].(map[string]any)
	if (len(requests) > 0) != (status == "input_required") || (result != nil) != (status == "completed") || (failure != nil) != (status == "failed") {
		bad("fields of another status")
	}
	switch status {
	case "input_required":
		for key := range requests {
			if name, _, _ := strings.Cut(key, "#"); !m.asked[name] {
				bad("an unknown question")
			}
			if slices.Contains(answered, key) {
				bad("a question that was answered")
			}
		}
	case "completed":
		switch m.results[textOf(reply{Result: fields})] {
		case m.lives:
		case 0:
			bad("a result that no handler returned")
		default:
			bad("the result of a runner that had lost the task")
		}
	case "failed":
		if why, _ := failure["message"].(string); !m.failures[why] || message != why {
			bad("a failure that did not happen")
		}
	case "cancelled":
		if !m.cancelled {
			bad("a cancel without a request")
		}
	}
	if terminal(status) {
		if m.final == "" {
			m.final = raw
		}
		if m.final != raw {
			bad("an end that others saw as " + m.final)
		}
	}
	if status != "failed" && !m.messages[message] {
		bad("a message that no handler set")
	}
}

// outstanding returns the keys of the questions that were seen last.
func (v *view) outstanding() []string {
	requests, _ := v.fields["inputRequests"].(map[string]any)
	return slices.Sorted(maps.Keys(requests))
}

func (v *view) ended() bool {
	status, _ := v.fields["status"].(string)
	return terminal(status)
}
