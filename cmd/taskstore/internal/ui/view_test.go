package ui

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/tasks"
)

var noon = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

func taskOf(id string, status tasks.Status, created, updated time.Duration) tasks.Task {
	return tasks.Task{ID: id, Status: status, CreatedAt: noon.Add(-created), UpdatedAt: noon.Add(-updated)}
}

// Rates count each task in the minute in which it was created or ended, and as active at the
// end of each minute between.
func TestRatesCountByMinute(t *testing.T) {
	r := newRates(noon)
	for _, one := range []tasks.Task{
		taskOf("a", tasks.Working, 30*time.Second, 0),
		taskOf("b", tasks.Completed, 150*time.Second, 30*time.Second),
		taskOf("c", tasks.Failed, 2*time.Hour, 59*time.Minute+time.Second),
		taskOf("d", tasks.Cancelled, 2*time.Hour, time.Hour+time.Second), // before all of it
		taskOf("e", tasks.InputRequired, 2*time.Hour, 2*time.Hour),
		taskOf("f", tasks.Working, -time.Second, -time.Second), // by another clock
	} {
		r.add(one)
	}
	last := minutes - 1
	assert.Equal(t, 2, r.Created[last])
	assert.Equal(t, 1, r.Created[last-2])
	assert.Equal(t, 1, r.Completed[last])
	assert.Equal(t, 1, r.Failed[0])
	assert.Zero(t, r.Cancelled[0])
	assert.Equal(t, 3, r.Active[last], "a, e and f")
	assert.Equal(t, 2, r.Active[last-1], "b and e")
	assert.Equal(t, 1, r.Active[0], "e")
}

// However many tools there are, so many are summed up one by one.
func TestToolsAreBounded(t *testing.T) {
	v := newView(query{}, noon)
	for n := range maxTools + 20 {
		for range 2 {
			v.add(looked{tasks.Stored{Task: taskOf(fmt.Sprint(n), tasks.Working, 0, 0)}, fmt.Sprintf("tool-%03d", n), "l"})
		}
	}
	assert.Len(t, v.Rows, pageSize+1, "and no more rows are held")
	v.finish()
	require.Len(t, v.Tools, maxTools+1)
	assert.True(t, v.Tools[maxTools].Others)
	assert.Equal(t, 40, v.Tools[maxTools].ByStatus[tasks.Working])
	assert.Len(t, v.Rows, pageSize)
	assert.Equal(t, 2*(maxTools+20), v.Found)
}

// A list shows so much of a text.
func TestTextsInAListAreCut(t *testing.T) {
	long := tasks.Stored{Task: taskOf("a", tasks.Working, 0, 0)}
	long.StatusMessage = strings.Repeat("ä", 5000)
	r := rowOf(looked{long, "", ""}, noon)
	assert.Equal(t, strings.Repeat("ä", maxText)+"…", r.Message)
	assert.Equal(t, "short", cut("short"))
}

// The timeline shows the events of the record in order, and those to come.
func TestATimelineShowsTheRecord(t *testing.T) {
	words := func(task tasks.Task) (all []string) {
		for _, m := range timelineOf(task, noon) {
			text := m.Kind + ": " + m.What
			if m.More != "" {
				text += ", " + m.More
			}
			if m.At != nil {
				text += " @" + noon.Sub(*m.At).String()
			}
			all = append(all, text)
		}
		return all
	}
	plain := taskOf("a", tasks.Working, time.Minute, time.Minute)
	assert.Equal(t, []string{"start: created @1m0s"}, words(plain))

	running := taskOf("a", tasks.InputRequired, time.Hour, time.Minute)
	running.Revision, running.LostRuns, running.CancelRequested = 7, 2, true
	running.InputKeys, running.InputRequests = []string{"a", "b"}, map[string]json.RawMessage{"b": nil}
	running.Lease = tasks.Lease{Holder: "replica-1", Token: 3, ExpiresAt: noon.Add(time.Minute)}
	running.TTL, running.ExpiresAt = 2*time.Hour, noon.Add(3*time.Hour)
	assert.Equal(t, []string{
		"start: created @1h0m0s",
		"lost: 2 runners were lost, another runner took the task over",
		"run: 3 runs began, now by replica-1",
		"ask: 2 questions were asked, 1 of them open",
		"run: latest change, revision 7 @1m0s",
		"cancel: cancel was requested",
		"later: the lease expires, unless the runner renews it @-1m0s",
		"later: clients may count on it until then @-1h0m0s",
		"later: expires @-3h0m0s",
	}, words(running))

	lost := taskOf("a", tasks.Working, time.Hour, time.Hour)
	lost.Lease = tasks.Lease{Holder: "replica-1", Token: 1, ExpiresAt: noon.Add(-time.Minute), IdleSince: noon.Add(-30 * time.Second)}
	assert.Equal(t, []string{
		"start: created @1h0m0s", "run: 1 run began, the latest by replica-1",
		"lost: the runner has been silent since @30s", "lost: the lease expired, the runner has not renewed it @1m0s",
	}, words(lost))

	detached := taskOf("a", tasks.Working, time.Hour, time.Hour)
	detached.Lease = tasks.Lease{Holder: "replica-1", Token: 1, ExpiresAt: noon.Add(time.Minute), Detached: true}
	assert.Equal(t, []string{
		"start: created @1h0m0s", "run: 1 run began, detached by replica-1: another process does the work", "later: deadline of the detached work @-1m0s",
	}, words(detached))

	ended := taskOf("a", tasks.Failed, time.Hour, time.Minute)
	ended.ExpiresAt, ended.TTL = noon.Add(time.Hour), 2*time.Hour
	assert.Equal(t, []string{"start: created @1h0m0s", "bad: failed, after 59m0s @1m0s", "later: expires @-1h0m0s"}, words(ended))
}

// A label hides its owner, and each run gives the owner another one.
func TestLabelsStandForOwners(t *testing.T) {
	l := newLabels()
	l.keep([]string{"n:alice", "n:bob"})
	assert.Equal(t, l.of("n:alice"), l.of("n:alice"))
	assert.NotEqual(t, l.of("n:alice"), l.of("n:bob"))
	assert.NotEqual(t, l.of("n:alice"), newLabels().of("n:alice"))
	assert.Equal(t, "n:bob", l.owner(l.of("n:bob")))
	l.keep([]string{"n:alice"})
	assert.Empty(t, l.owner(l.of("n:bob")), "they are as many as there are owners")
}
