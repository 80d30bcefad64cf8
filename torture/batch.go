package torture

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskstore/taskstore"
)

// A Write is one write of a batch. All writes of a batch are on one task.
type Write struct {
	Place    int
	Data     string
	Remove   bool              // in place of Data
	Expected taskstore.Version // or AnyVersion
}

// places is the number of records that a task may have: one in the default collection and
// two in another collection of the same owner.
const places = 3

// keyOf returns the key of a task's record.
func keyOf(owner, task string, place int) taskstore.Key {
	return taskstore.Key{
		Owner:      owner,
		Collection: [places]string{"", "side", "side"}[place],
		Task:       task + [places]string{"", "", "+"}[place],
	}
}

// batchOf returns the batch of a call.
func batchOf(owner string, c Call) (writes []taskstore.Write) {
	for _, w := range c.Writes {
		v := taskstore.Value{Data: []byte(w.Data)}
		if w.Remove {
			v = taskstore.Value{ExpiresAt: time.UnixMilli(1)}
		}
		writes = append(writes, taskstore.Write{Key: keyOf(owner, c.Task, w.Place), Value: v, Expected: w.Expected})
	}
	return writes
}

// stepBatch is step for a batch: all of its writes apply, or none, at one instant.
func stepBatch(s state, c Call, r Result) (bool, state) {
	next := s
	for i, w := range c.Writes {
		now := s.records[w.Place]
		if w.Expected != taskstore.AnyVersion && w.Expected != now.version {
			return r.Conflict && r.Index == i && r.Version == now.version, s
		}
		next.records[w.Place] = record{now.version + 1, w.Data}
		if w.Remove {
			next.records[w.Place] = record{}
		}
	}
	return !r.Conflict, next
}

// nameOf names a record within its task.
func nameOf(place int) string { return [places]string{"", "side ", "side+ "}[place] }

func describeState(s state) string {
	var all []string
	for place, r := range s.records {
		if r.version > 0 {
			all = append(all, fmt.Sprintf("%sversion %d: %s", nameOf(place), r.version, r.data))
		}
	}
	if len(all) == 0 {
		return "no record"
	}
	return strings.Join(all, "; ")
}

func describeWrites(writes []Write) string {
	var all []string
	for _, w := range writes {
		expected, data := fmt.Sprint(w.Expected), w.Data
		if w.Expected == taskstore.AnyVersion {
			expected = "any"
		}
		if w.Remove {
			data = "remove"
		}
		all = append(all, fmt.Sprintf("%s%s, %s", nameOf(w.Place), data, expected))
	}
	return strings.Join(all, "; ")
}
