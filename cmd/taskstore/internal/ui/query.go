package ui

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskstore/taskstore/tasks"
)

// A query chooses the tasks of a list. Owner and tool also choose the tasks of the sums.
type query struct {
	owner   string // a name or a label
	tool    *string
	status  tasks.Status
	older   time.Duration
	orphans bool
	id      string // prefix of the id
	before  *mark  // the page begins after this mark; nil: with the newest task
}

// A mark is a place among tasks that are sorted from the newest to the oldest.
type mark struct {
	millis int64 // the task's creation, Unix ms
	id     string
}

func markOf(t tasks.Task) mark { return mark{t.CreatedAt.UnixMilli(), t.ID} }

// precedes reports whether m is the newer one, and so comes before n in a list.
func (m mark) precedes(n mark) bool {
	return m.millis > n.millis || m.millis == n.millis && m.id > n.id
}

func (m mark) String() string { return strconv.FormatInt(m.millis, 10) + "-" + m.id }

var statuses = []tasks.Status{tasks.Working, tasks.InputRequired, tasks.Completed, tasks.Failed, tasks.Cancelled}

func parseQuery(v url.Values) (q query, err error) {
	q.owner, q.id = v.Get("owner"), strings.ToLower(v.Get("id"))
	if v.Has("tool") {
		tool := cut(v.Get("tool"))
		q.tool = &tool
	}
	if s := v.Get("status"); s != "" {
		if q.status = tasks.Status(s); !slices.Contains(statuses, q.status) {
			return q, errors.New("status is not a task's status")
		}
	}
	if s := v.Get("older"); s != "" {
		if q.older, err = time.ParseDuration(s); err != nil || q.older < 0 {
			return q, errors.New("older is not a duration, such as 10m or 2h30m")
		}
	}
	q.orphans = v.Get("orphans") != ""
	if s := v.Get("before"); s != "" {
		millis, id, _ := strings.Cut(s, "-")
		m := mark{id: id}
		if m.millis, err = strconv.ParseInt(millis, 10, 64); err != nil {
			return q, errors.New("before is not a position in the list")
		}
		q.before = &m
	}
	return q, nil
}

// maxText limits the length at which a list shows a text of a server or a client.
const maxText = 200

func cut(s string) string {
	n := 0
	for i := range s {
		if n++; n > maxText {
			return s[:i] + "…"
		}
	}
	return s
}
