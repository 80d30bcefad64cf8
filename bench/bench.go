package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore/bench/peers"
)

// A bench is one run: a server of its own, what is open on it, and the report.
type bench struct {
	Config
	addr    string // of the Redis server
	program string // its path
	report  *report
	log     func(format string, args ...any)

	clients map[int]*redis.Client
	remotes []peers.Peer
	filled  map[string]bool // owners that have been given tasks
	leads   []lead
	closers []func() error

	scale scale
}

func newBench(cfg Config, addr, program string, log func(string, ...any)) *bench {
	return &bench{
		Config: cfg, addr: addr, program: program, report: newReport(), log: log,
		clients: make(map[int]*redis.Client), filled: make(map[string]bool),
	}
}

// The databases of the server, one for each peer: keys of the others are not in
// the way of those that walk through all keys.
const (
	dbOurs = iota
	dbModel
	dbValkeyrie
	dbAsynq
	dbPiped
	dbLimit
	dbScratch
	dbGrowth
	dbOwners // and those behind it, one for each number of owners
)

// client returns the client of a database. They are all alike, and go-redis's
// defaults but for the number of connections: every caller may have one.
func (b *bench) client(db int) *redis.Client {
	c := b.clients[db]
	if c == nil {
		c = b.newClient(db)
		b.clients[db] = c
	}
	return c
}

// newClient returns one that nobody else uses.
func (b *bench) newClient(db int) *redis.Client {
	c := redis.NewClient(&redis.Options{
		Addr: b.addr, DB: db, PoolSize: slices.Max(b.Callers), ReadTimeout: time.Minute, WriteTimeout: time.Minute,
	})
	b.closers = append(b.closers, c.Close)
	return c
}

// remote returns the peers on servers, ours first.
func (b *bench) remote(ctx context.Context) ([]peers.Peer, error) {
	if len(b.remotes) > 0 {
		return b.remotes, nil
	}
	ours, err := peers.Redis(b.client(dbOurs))
	if err != nil {
		return nil, err
	}
	nats, _, err := peers.NATS(ctx, true)
	if err != nil {
		return nil, err
	}
	b.remotes = []peers.Peer{
		ours, peers.Model(b.client(dbModel)), peers.Valkeyrie(b.client(dbValkeyrie)), peers.Asynq(b.client(dbAsynq)), nats,
	}
	return b.remotes, nil
}

// fillOwner gives the owner of that name n tasks of 1 KiB, once, and deletes none.
func (b *bench) fillOwner(ctx context.Context, p peers.Peer, owner string, n int) error {
	if id := p.Name + " " + owner; b.filled[id] {
		return nil
	} else {
		b.filled[id] = true
	}
	data := payload(1 << 10)
	return fill(ctx, n, func(ctx context.Context, i int) error {
		_, err := p.Create(ctx, owner, fmt.Sprint("task-", i), data)
		return err
	})
}

// flush empties the servers.
func (b *bench) flush(ctx context.Context) error {
	clear(b.filled)
	errs := []error{b.client(dbScratch).FlushAll(ctx).Err()}
	for _, p := range b.remotes {
		if p.Close != nil {
			errs = append(errs, p.Close())
		}
	}
	b.remotes = nil
	return errors.Join(errs...)
}

// close ends what the run has opened.
func (b *bench) close(ctx context.Context) error {
	errs := []error{b.flush(ctx)}
	for _, f := range slices.Backward(b.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// contest holds a contest and says so.
func (b *bench) contest(ctx context.Context, c Contest) (Result, error) {
	if len(c.Contestants) == 0 {
		return Result{}, fmt.Errorf("%s: the contest has no participants", c.Name)
	}
	if c.Rounds == 0 {
		c.Rounds = b.Rounds
	}
	start := time.Now()
	r, err := c.run(ctx)
	b.log("  %s: %v", c.Name, time.Since(start).Round(10*time.Millisecond))
	return r, err
}

// payload returns data that looks like a task's: text that is not all the same.
func payload(size int) []byte {
	const text = `{"status":"working","message":"rendering page 17 of 204","request":{"name":"render"}}`
	return []byte(strings.Repeat(text, size/len(text)+1)[:size])
}
