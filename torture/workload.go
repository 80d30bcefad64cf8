package torture

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/taskstore/taskstore"
)

// A Class is a kind of load.
type Class struct {
	Name string
	// step makes one call or a few.
	step func(c *client, ctx context.Context)
	// hot is the number of records that all clients share from the start.
	hot int
	// places is the number of records that a task may have, if more than one.
	places int
}

// The classes of load, by their use of records.
var (
	// HotKeys has all clients create, update and read a few records.
	HotKeys = Class{Name: "HotKeys", step: (*client).hotStep, hot: 2}
	// HotKeysWithPut adds Put.
	HotKeysWithPut = Class{Name: "HotKeysWithPut", step: (*client).putStep, hot: 2}
	// TaskIDs uses records as tasks are used: an id is random, unknown to other clients
	// until the create has returned, and used only once. Then all clients update, read and
	// delete the record.
	TaskIDs = Class{Name: "TaskIDs", step: (*client).taskStep}
	// OwnKeys has each client create, write and read a record that no other client writes.
	OwnKeys = Class{Name: "OwnKeys", step: (*client).ownStep}
	// Batches is TaskIDs with tasks of several records, which clients write and remove
	// together and one by one.
	Batches = Class{Name: "Batches", step: (*client).batchStep, places: places}
)

// A Load runs clients, one for each backend, and records their calls.
type Load struct {
	Class    Class
	Backends []taskstore.StorageBackend
	Owner    string
	Seed     uint64
	// Calls is the least number of calls of each client. If Until is not nil, the client
	// also continues until it is closed.
	Calls int
	Until <-chan struct{}
	// Pause bounds the random pause before each step of the Class.
	Pause time.Duration
	// Ahead lets clients guess versions that a record has not reached yet.
	Ahead bool
	// Settle is called after the clients have stopped and before the final read of all
	// records.
	Settle func()
}

// A client makes one call after another.
type client struct {
	id      int
	backend taskstore.StorageBackend
	load    *Load
	history *History
	shared  *shared
	random  *rand.Rand
	calls   int
	seen    map[name]taskstore.Version // the latest version that the client knows
}

// A name identifies a record of a load.
type name struct {
	task  string
	place int
}

// shared is the common knowledge of a load's clients.
type shared struct {
	mu    sync.Mutex
	all   []string
	known []string // the latest
}

// knownTasks is the number of tasks in use at a time.
const knownTasks = 3

func (s *shared) publish(task string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all = append(s.all, task)
	s.known = append(s.known, task)
	if len(s.known) > knownTasks {
		s.known = s.known[1:]
	}
}

func (s *shared) pick(random *rand.Rand) (task string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) == 0 {
		return "", false
	}
	return s.known[random.IntN(len(s.known))], true
}

// Run runs the load.
func (l Load) Run(ctx context.Context) *History {
	h := NewHistory(l.Owner)
	s := new(shared)
	for i := range l.Class.hot {
		s.publish(fmt.Sprint("hot-", i))
	}
	var clients sync.WaitGroup
	for id, b := range l.Backends {
		c := &client{
			id: id, backend: b, load: &l, history: h, shared: s,
			random: rand.New(rand.NewPCG(l.Seed, uint64(id))),
			seen:   make(map[name]taskstore.Version),
		}
		clients.Go(func() { c.run(ctx) })
	}
	clients.Wait()
	if l.Settle != nil {
		l.Settle()
	}
	for _, task := range s.all {
		for place := range max(l.Class.places, 1) {
			h.Do(ctx, l.Backends[0], 0, Call{Verb: Get, Task: task, Place: place})
		}
	}
	return h
}

func (c *client) run(ctx context.Context) {
	for c.calls < c.load.Calls || c.goesOn() {
		if c.load.Pause > 0 {
			time.Sleep(time.Duration(c.random.Int64N(int64(c.load.Pause))))
		}
		c.load.Class.step(c, ctx)
	}
}

func (c *client) goesOn() bool {
	if c.load.Until == nil {
		return false
	}
	select {
	case <-c.load.Until:
		return false
	default:
		return true
	}
}

func (c *client) hotStep(ctx context.Context) {
	task, _ := c.shared.pick(c.random)
	switch n := c.random.IntN(100); {
	case n < 30:
		c.get(ctx, task)
	case n < 40:
		c.put(ctx, PutIfVersion, task, 0)
	default:
		c.put(ctx, PutIfVersion, task, c.expected(name{task: task}))
	}
}

func (c *client) putStep(ctx context.Context) {
	task, _ := c.shared.pick(c.random)
	switch n := c.random.IntN(100); {
	case n < 30:
		c.get(ctx, task)
	case n < 60:
		c.put(ctx, Put, task, 0)
	default:
		c.put(ctx, PutIfVersion, task, c.expected(name{task: task}))
	}
}

func (c *client) taskStep(ctx context.Context) {
	task, ok := c.shared.pick(c.random)
	n := c.random.IntN(100)
	if !ok {
		n = 0
	}
	switch {
	case n < 10:
		task = fmt.Sprintf("task-%d-%d", c.id, c.calls)
		if r, ok := c.put(ctx, PutIfVersion, task, 0); ok && !r.Unknown {
			c.shared.publish(task)
		}
	case n < 40:
		c.get(ctx, task)
	case n < 50:
		c.do(ctx, Call{Verb: Delete, Task: task})
	default:
		c.put(ctx, PutIfVersion, task, max(c.expected(name{task: task}), 1))
	}
}

func (c *client) ownStep(ctx context.Context) {
	task := fmt.Sprint("own-", c.id)
	switch n := c.random.IntN(100); {
	case c.calls == 0:
		c.put(ctx, PutIfVersion, task, 0)
		c.shared.publish(task)
	case n < 30:
		c.get(ctx, task)
	case n < 50:
		c.put(ctx, Put, task, 0)
	default:
		c.put(ctx, PutIfVersion, task, c.seen[name{task: task}])
	}
}

// expected returns the version that a client has reason to expect, or an outdated one.
func (c *client) expected(record name) taskstore.Version {
	v := c.seen[record]
	switch n := c.random.IntN(20); {
	case n == 0 && v > 0:
		return v - 1
	case n == 1 && c.load.Ahead:
		return v + 1
	}
	return v
}

func (c *client) get(ctx context.Context, task string) { c.do(ctx, Call{Verb: Get, Task: task}) }

func (c *client) put(ctx context.Context, verb Verb, task string, expected taskstore.Version) (Result, bool) {
	return c.do(ctx, Call{Verb: verb, Task: task, Data: fmt.Sprintf("%d-%d", c.id, c.calls), Expected: expected})
}

// callTime is the timeout of one call.
const callTime = 10 * time.Second

func (c *client) do(ctx context.Context, call Call) (Result, bool) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	c.calls++
	r, ok := c.history.Do(ctx, c.backend, c.id, call)
	if ok && !r.Unknown {
		c.learn(call, r)
	}
	return r, ok
}
