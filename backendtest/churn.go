package backendtest

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// A churning is writers at work on the records of one owner while a reader reads them,
// one reading after the other. Each reading has records of its own that stay through it,
// are updated and must be read exactly once; between them are others that the writers
// delete meanwhile.
type churning struct {
	s     *store
	owner string
	now   time.Time
	n     int // the reading
	work  chan churnJob
	done  sync.WaitGroup
}

type churnJob struct{ n, i int }

const (
	churnReadings = 20
	churnRecords  = 20 // that stay through each
)

// churn calls read, which must read again while next returns true.
func (s *store) churn(read func(c *churning)) {
	s.Helper()
	c := &churning{s: s, owner: newOwner(), now: s.now(), work: make(chan churnJob, churnRecords)}
	for range 4 {
		c.done.Go(func() {
			for job := range c.work {
				if err := c.write(job); err != nil {
					s.Errorf("write: %v", err)
				}
			}
		})
	}
	defer func() {
		close(c.work)
		c.done.Wait()
	}()
	read(c)
}

func (c *churning) key(kind string, n, i int) taskstore.Key {
	return of(c.owner, fmt.Sprintf("%s-%d-%d", kind, n, i))
}

// next prepares another reading and hands work to the writers. As the reading hands out
// the work, both sides work at the same time, and the writers do not create records
// faster than a walk reads them.
func (c *churning) next() bool {
	c.s.Helper()
	if c.n == churnReadings || c.s.Failed() {
		return false
	}
	c.n++
	for i := range churnRecords {
		c.s.mustPut(c.key("goes", c.n, i), text("x"))
		c.s.mustPut(c.key("stays", c.n, i), text("x"))
	}
	for i := range churnRecords {
		c.work <- churnJob{c.n, i}
	}
	return true
}

// write does one writer's share of the work during a reading.
func (c *churning) write(job churnJob) (failed error) {
	put := func(key taskstore.Key, v taskstore.Value) {
		if _, err := c.s.Put(c.s.ctx, key, v); err != nil {
			failed = err
		}
	}
	remove := func(key taskstore.Key) {
		if _, err := c.s.Delete(c.s.ctx, key); err != nil {
			failed = err
		}
	}
	n, i := job.n, job.i
	remove(c.key("goes", n, i))
	put(c.key("stays", n, i), until("updated", c.now.Add(time.Hour)))
	remove(c.key("stays", n-1, i)) // the last reading's
	switch i % 4 {
	case 0:
		put(c.key("goes", n, i), text("again"))
	case 1:
		put(c.key("new", n, i), text("x"))
	case 2:
		put(c.key("goes", n-1, i-2), until("", c.now.Add(-2*time.Second)))
	case 3:
		put(c.key("expires", n, i), until("x", c.now.Add(time.Duration(n)*5*time.Millisecond)))
	}
	put(c.key("stays", n, i), text("updated again"))
	return failed
}

// wantStaying checks that the reading has read the staying records, once and in order, and
// no record twice.
func (c *churning) wantStaying(what string, records []taskstore.Record) {
	c.s.Helper()
	var got, want []string
	for i := range churnRecords {
		want = append(want, c.key("stays", c.n, i).Task)
	}
	type state struct {
		task    string
		version taskstore.Version
		data    string
	}
	seen := make(map[state]bool, len(records))
	for _, r := range records {
		one := state{r.Key.Task, r.Version, string(r.Data)}
		if seen[one] {
			c.s.Errorf("%s: the record %s, version %d, %q is there twice", what, one.task, one.version, one.data)
		}
		seen[one] = true
		if strings.HasPrefix(r.Key.Task, fmt.Sprintf("stays-%d-", c.n)) {
			got = append(got, r.Key.Task)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		c.s.Errorf("%s: of the records that stay %q, want %q", what, got, want)
	}
}
