package ui

import (
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// minutes is the number of minutes that rates cover.
const minutes = 60

// rates counts the tasks that were created and that ended in each of the last minutes, and
// the tasks that were active. It counts present records: tasks that have expired or were
// deleted are missing.
type rates struct {
	From      time.Time    `json:"from"` // the beginning of the first minute
	Created   [minutes]int `json:"created"`
	Completed [minutes]int `json:"completed"`
	Failed    [minutes]int `json:"failed"`
	Cancelled [minutes]int `json:"cancelled"`
	Active    [minutes]int `json:"active"` // at the end of the minute
}

func newRates(now time.Time) *rates { return &rates{From: now.Add(-minutes * time.Minute)} }

// minute returns the index of the minute of t, negative if t is before the first.
func (r *rates) minute(t time.Time) int {
	if t.Before(r.From) {
		return -1
	}
	return min(int(t.Sub(r.From)/time.Minute), minutes-1)
}

func (r *rates) add(t tasks.Task) {
	created, ended := r.minute(t.CreatedAt), minutes
	if created >= 0 {
		r.Created[created]++
	}
	if t.Status.Terminal() {
		if ended = r.minute(t.UpdatedAt); ended < 0 {
			return
		}
		switch t.Status {
		case tasks.Completed:
			r.Completed[ended]++
		case tasks.Failed:
			r.Failed[ended]++
		case tasks.Cancelled:
			r.Cancelled[ended]++
		}
	}
	for i := max(created, 0); i < ended; i++ {
		r.Active[i]++
	}
}
