package ui

import (
	"cmp"
	"slices"
	"time"

	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/tasks"
)

// A view is the result of one look at the store for a query.
type view struct {
	Now        time.Time  `json:"now"`
	Tasks      int        `json:"tasks"`      // of the owner, or of all owners
	Unreadable int        `json:"unreadable"` // likewise
	Found      int        `json:"found"`      // tasks that the query chooses
	Rows       []*row     `json:"rows"`       // a page of those, the newest first
	Next       string     `json:"next,omitempty"`
	Tools      []*toolSum `json:"tools"`
	Rates      *rates     `json:"rates"`
	Feed       feedState  `json:"feed"`

	query  query
	tools  map[string]*toolSum
	others *toolSum // nil: each tool has a sum of its own
}

// A row is a task in a list.
type row struct {
	ID         string          `json:"id"`
	Owner      string          `json:"owner"` // its label
	OwnerName  string          `json:"owner_name,omitempty"`
	Tool       string          `json:"tool,omitempty"`
	Status     tasks.Status    `json:"status"`
	Message    string          `json:"message,omitempty"`
	Orphan     bool            `json:"orphan,omitempty"`
	Cancelling bool            `json:"cancelling,omitempty"`
	Progress   *tasks.Progress `json:"progress,omitempty"`
	CreatedAt  time.Time       `json:"created_at"`
	UpdatedAt  time.Time       `json:"updated_at"`

	mark  mark
	owner string
}

// A toolSum is the sum of one tool, or of all tools beyond maxTools.
type toolSum struct {
	Tool   string `json:"tool"`
	Others bool   `json:"others,omitempty"`
	*look.ToolSum
}

const (
	pageSize = 50
	maxTools = 100 // tools with a sum of their own
)

func newView(q query, now time.Time) *view {
	return &view{Now: now, Rows: []*row{}, Tools: []*toolSum{}, Rates: newRates(now), query: q, tools: make(map[string]*toolSum)}
}

// A looked is a task with the derived data that all views need.
type looked struct {
	tasks.Stored
	tool, label string
}

// of reports whether the query chooses an owner.
func (q *query) of(owner, label string) bool {
	return q.owner == "" || q.owner == label || q.owner == owner
}

// skip counts an unreadable record.
func (v *view) skip(owner, label string) {
	if v.query.of(owner, label) {
		v.Unreadable++
	}
}

// add adds a task to the view, if the query chooses it.
func (v *view) add(t looked) {
	q := &v.query
	if !q.of(t.Owner, t.label) {
		return
	}
	v.Tasks++
	v.sum(t.tool).Add(t.Task, v.Now)
	if q.tool != nil && *q.tool != t.tool {
		return
	}
	v.Rates.add(t.Task)
	if !q.takes(t, v.Now) {
		return
	}
	v.Found++
	m := markOf(t.Task)
	if q.before != nil && !q.before.precedes(m) {
		return
	}
	// One row beyond the page shows that there is a next page.
	if len(v.Rows) > pageSize && v.Rows[pageSize].mark.precedes(m) {
		return
	}
	place, _ := slices.BinarySearchFunc(v.Rows, m, func(r *row, m mark) int {
		if r.mark.precedes(m) {
			return -1
		}
		return 1
	})
	v.Rows = slices.Insert(v.Rows, place, rowOf(t, v.Now))
	v.Rows = v.Rows[:min(len(v.Rows), pageSize+1)]
}

func (q *query) takes(t looked, now time.Time) bool {
	return (q.status == "" || q.status == t.Status) &&
		(q.older == 0 || now.Sub(t.CreatedAt) > q.older) &&
		(!q.orphans || look.IsOrphan(t.Task, now)) &&
		(q.id == "" || len(t.ID) >= len(q.id) && t.ID[:len(q.id)] == q.id)
}

func (v *view) sum(tool string) *toolSum {
	if s := v.tools[tool]; s != nil {
		return s
	}
	if len(v.tools) >= maxTools {
		if v.others == nil {
			v.others = &toolSum{Others: true, ToolSum: look.NewToolSum()}
		}
		return v.others
	}
	s := &toolSum{Tool: tool, ToolSum: look.NewToolSum()}
	v.tools[tool] = s
	return s
}

func rowOf(t looked, now time.Time) *row {
	r := &row{
		ID: t.ID, Owner: t.label, Tool: t.tool, Status: t.Status, Message: cut(t.StatusMessage),
		Orphan: look.IsOrphan(t.Task, now), Cancelling: t.CancelRequested && !t.Status.Terminal(),
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt, mark: markOf(t.Task), owner: t.Owner,
	}
	if t.Progress != (tasks.Progress{}) {
		r.Progress = &t.Progress
	}
	return r
}

// finish sorts the rows and the sums.
func (v *view) finish() {
	if len(v.Rows) > pageSize {
		v.Rows = v.Rows[:pageSize]
		v.Next = v.Rows[pageSize-1].mark.String()
	}
	for _, s := range v.tools {
		v.Tools = append(v.Tools, s)
	}
	slices.SortFunc(v.Tools, func(a, b *toolSum) int { return cmp.Compare(a.Tool, b.Tool) })
	if v.others != nil {
		v.Tools = append(v.Tools, v.others)
	}
}
