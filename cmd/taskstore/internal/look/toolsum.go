package look

import (
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// A ToolSum summarizes the tasks of one tool.
type ToolSum struct {
	ByStatus map[tasks.Status]int `json:"by_status"`
	Orphans  int                  `json:"orphans"`
	Oldest   time.Time            `json:"oldest,omitzero"` // of the tasks that have not ended
	Created  int                  `json:"created"`         // within the last minute
	Ended    int                  `json:"ended"`           // likewise
}

// NewToolSum returns the sum of no tasks.
func NewToolSum() *ToolSum { return &ToolSum{ByStatus: make(map[tasks.Status]int)} }

// Add adds a task as it is at now.
func (s *ToolSum) Add(t tasks.Task, now time.Time) {
	s.ByStatus[t.Status]++
	if IsOrphan(t, now) {
		s.Orphans++
	}
	if now.Sub(t.CreatedAt) < time.Minute {
		s.Created++
	}
	switch {
	case t.Status.Terminal() && now.Sub(t.UpdatedAt) < time.Minute:
		s.Ended++
	case !t.Status.Terminal() && (s.Oldest.IsZero() || t.CreatedAt.Before(s.Oldest)):
		s.Oldest = t.CreatedAt
	}
}
