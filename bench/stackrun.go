package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/taskstore/taskstore"
)

// Names in the tables of the whole stack.
const (
	constantServer = "a constant, same server"
	stackMemory    = "taskstore in memory"
	stackRedis     = "taskstore in Redis"
	stackPiped     = "taskstore in Redis, automatic pipelining"
	stackMCPGo     = "mcp-go, in its process"
)

// stackSections measures requests of MCP clients over HTTP.
func (b *bench) stackSections(ctx context.Context) (err error) {
	s := b.report.section("The whole stack, over HTTP")
	s.text("Requests per second of an MCP server with the official Go SDK and mcptasks, on HTTP connections that are kept, client and server in one " +
		"process. The constant is what tasks/get answers, answered by the same server, through the same handlers, without looking for a task. " +
		"mcp-go serves the tasks of the protocol before the extension from a map.\n")
	most := slices.Max(b.StackCallers)
	onRedis, err := taskstore.NewRedisBackend(b.client(dbOurs), nil)
	if err != nil {
		return err
	}
	piped, err := taskstore.NewRedisBackend(b.client(dbOurs), &taskstore.RedisOptions{AutoPipeline: true})
	if err != nil {
		return err
	}
	all := []struct {
		name string
		open func() (*replica, error)
	}{
		{stackMemory, func() (*replica, error) { return newReplica(taskstore.NewMemoryBackend(nil), most, nil) }},
		{stackRedis, func() (*replica, error) { return newReplica(onRedis, most, nil) }},
		{stackPiped, func() (*replica, error) { return newReplica(piped, most, nil) }},
		{stackMCPGo, func() (*replica, error) { return newMCPGo(most) }},
	}
	replicas := make(map[string]*replica)
	defer func() {
		for _, r := range replicas {
			err = errors.Join(err, r.close())
		}
	}()
	for _, who := range all {
		r, err := who.open()
		if err != nil {
			return err
		}
		replicas[who.name] = r
	}
	var gets, creates []Result
	for _, callers := range b.StackCallers {
		get := b.rates(callers)
		create := get
		for _, who := range all {
			name, r := who.name, replicas[who.name]
			id, err := r.create(ctx, "done")
			if err != nil {
				return err
			}
			if _, err := r.completed(ctx, id); err != nil {
				return err
			}
			if name == stackMemory {
				get.Contestants = append(get.Contestants, b.loaded(constantServer, callers, 1, func(ctx context.Context, _, _ int) error {
					_, err := r.post(ctx, constantMethod, map[string]any{"taskId": id})
					return err
				}))
			}
			get.Contestants = append(get.Contestants, b.loaded(name, callers, 1, func(ctx context.Context, _, _ int) error {
				_, err := r.get(ctx, id)
				return err
			}))
			create.Contestants = append(create.Contestants, b.loaded(name, callers, 1, func(ctx context.Context, _, _ int) error {
				_, err := r.create(ctx, "done")
				return err
			}))
		}
		r, err := b.contest(ctx, get)
		if err != nil {
			return err
		}
		gets = append(gets, r)
		for _, name := range []string{stackMemory, stackRedis} {
			b.report.atMost(1.5, r.ratio(constantServer, name, value), "tasks/get over HTTP, %s, %s: time of a constant's", name, r.Name)
		}
		if r, err = b.contest(ctx, create); err != nil {
			return err
		}
		creates = append(creates, r)
	}
	b.showRequests(s, "tasks/get", constantServer, gets)
	b.showRequests(s, "tools/call until it answers with a task", stackMemory, creates)
	return b.cancels(ctx, s)
}

func (b *bench) showRequests(s *section, what, reference string, results []Result) {
	s.table(comparison("**"+what+"**", "requests/s", reference, results))
	t := table{header: []string{"a request, µs"}}
	for _, r := range results {
		t.header = append(t.header, r.Name+": p50", "p99")
	}
	for _, name := range results[0].Names {
		cells := []string{name}
		for _, r := range results {
			cells = append(cells, figure(r.stat(name, p50).Median), p99Text(r, name))
		}
		t.row(cells...)
	}
	s.table(t)
}

// cancels measures how long a cancel takes from the request to one replica until
// the handler on another knows.
func (b *bench) cancels(ctx context.Context, s *section) (err error) {
	c := Contest{Name: "cancel"}
	var closers []func() error
	defer func() {
		for _, f := range closers {
			err = errors.Join(err, f())
		}
	}()
	for _, store := range []struct {
		name string
		open func() (taskstore.StorageBackend, error)
	}{
		{stackMemory, func() func() (taskstore.StorageBackend, error) {
			m := taskstore.NewMemoryBackend(nil)
			return func() (taskstore.StorageBackend, error) { return m, nil }
		}()},
		{stackRedis, func() (taskstore.StorageBackend, error) { return taskstore.NewRedisBackend(b.newClient(dbOurs), nil) }},
	} {
		var pair [2]*replica
		t := &told{ended: make(chan time.Time, 1)}
		for i := range pair {
			backend, err := store.open()
			if err == nil {
				pair[i], err = newReplica(backend, 1, t)
			}
			if err != nil {
				return err
			}
			closers = append(closers, pair[i].close)
		}
		c.Contestants = append(c.Contestants, Contestant{Name: store.name, Sample: func(ctx context.Context) (Sample, error) {
			return cancelSample(ctx, pair, t, b.Cancels)
		}})
	}
	r, err := b.contest(ctx, c)
	if err != nil {
		return err
	}
	t := table{caption: "**tasks/cancel at one replica until the handler on the other is told**", header: []string{"", "p50 µs", "p90 µs"}}
	for _, name := range r.Names {
		t.row(name, withSpread(r.stat(name, p50)), withSpread(r.stat(name, extra)))
	}
	s.table(t)
	return b.flush(ctx)
}

func cancelSample(ctx context.Context, pair [2]*replica, t *told, n int) (Sample, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	var took []float64
	start := time.Now()
	for range n {
		id, err := pair[0].create(ctx, "wait")
		if err != nil {
			return Sample{}, err
		}
		// The handler watches its task from some moment on; before it, a cancel would
		// measure how it starts.
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return Sample{}, err
		}
		begin := time.Now()
		if _, err := pair[1].post(ctx, "tasks/cancel", map[string]any{"taskId": id}); err != nil {
			return Sample{}, err
		}
		select {
		case end := <-t.ended:
			took = append(took, micros(end.Sub(begin)))
		case <-ctx.Done():
			return Sample{}, errors.New("the handler was not told")
		}
	}
	slices.Sort(took)
	return Sample{Value: float64(n) / time.Since(start).Seconds(), P50: quantile(took, 0.5), Extra: quantile(took, 0.9)}, nil
}
