package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
)

// A bench is one run: a server of its own, all that is open on it, and the report.
type bench struct {
	Config
	addr     string // of the Redis server
	program  string // its path
	report   *report
	log      func(format string, args ...any)
	unpinned error // why one caller and the server shared cores; nil: they had one each

	clients map[int]*redis.Client
	remotes []peers.Peer
	closers []func() error
}

func newBench(cfg Config, addr, program string, log func(string, ...any)) *bench {
	return &bench{
		Config: cfg, addr: addr, program: program, report: new(report), log: log,
		clients: make(map[int]*redis.Client),
	}
}

// The databases of the server, one for each peer, because some peers walk through all keys.
const (
	dbOurs = iota
	dbModel
	dbValkeyrie
	dbAsynq
	dbPiped
	dbEndless
	dbLimit
	dbScratch
	dbGrowth // and those behind it, one for each size
)

// client returns the client of a database. All are alike, and go-redis's defaults but for the
// number of connections: every caller may have one.
func (b *bench) client(db int) *redis.Client {
	c := b.clients[db]
	if c == nil {
		c = b.newClient(db)
		b.clients[db] = c
	}
	return c
}

func (b *bench) newClient(db int) *redis.Client {
	c := redis.NewClient(&redis.Options{
		Addr: b.addr, DB: db, PoolSize: slices.Max(b.Callers), ReadTimeout: time.Minute, WriteTimeout: time.Minute,
	})
	b.closers = append(b.closers, c.Close)
	return c
}

// redisStore returns taskstore on a database, as a peer.
func (b *bench) redisStore(name string, db int, opts *taskstore.RedisOptions) (peers.Peer, error) {
	store, err := taskstore.NewRedisBackend(b.client(db), opts)
	if err != nil {
		return peers.Peer{}, err
	}
	return peers.Taskstore(name, store), nil
}

// remote returns the peers on servers, ours first.
func (b *bench) remote(ctx context.Context) ([]peers.Peer, error) {
	if len(b.remotes) > 0 {
		return b.remotes, nil
	}
	store, err := b.redisStore(ours, dbOurs, nil)
	if err != nil {
		return nil, err
	}
	nats, err := peers.NATS(ctx, true)
	if err != nil {
		return nil, err
	}
	b.remotes = []peers.Peer{
		store, peers.Model(b.client(dbModel)), peers.Valkeyrie(b.client(dbValkeyrie)), peers.Asynq(b.client(dbAsynq)), nats,
	}
	return b.remotes, nil
}

// local returns the stores in this process: the limit, ours, others.
func (b *bench) local(ctx context.Context) (all []peers.Peer, end func() error, err error) {
	nats, err := peers.NATS(ctx, false)
	if err != nil {
		return nil, nil, err
	}
	return []peers.Peer{peers.Map(), peers.Taskstore(oursInMemory, taskstore.NewMemoryBackend(nil)), peers.A2A(), nats}, nats.Close, nil
}

// fillOwner gives an owner n tasks of 1 KiB.
func fillOwner(ctx context.Context, p peers.Peer, owner string, n int) error {
	data := payload(1 << 10)
	return fill(ctx, n, func(ctx context.Context, i int) error {
		_, err := p.Create(ctx, owner, taskName(i), data)
		return err
	})
}

// flush empties the servers.
func (b *bench) flush(ctx context.Context) error {
	errs := []error{b.client(dbScratch).FlushAll(ctx).Err()}
	for _, p := range b.remotes {
		if p.Close != nil {
			errs = append(errs, p.Close())
		}
	}
	b.remotes = nil
	return errors.Join(errs...)
}

// close ends all that the run has opened.
func (b *bench) close(ctx context.Context) error {
	errs := []error{b.flush(ctx)}
	for _, f := range slices.Backward(b.closers) {
		errs = append(errs, f())
	}
	return errors.Join(errs...)
}

// sheet begins a sheet of the report.
func (b *bench) sheet(s sheet) *sheet {
	b.report.sheets = append(b.report.sheets, &s)
	return &s
}

// contest holds a contest, and adds its result to a sheet.
func (b *bench) contest(ctx context.Context, s *sheet, c Contest) (err error) {
	if c.Rounds == 0 {
		c.Rounds = b.Rounds
	}
	if c.Pinned {
		unpin, pinErr := pin()
		if pinErr != nil {
			b.unpinned = pinErr
		} else {
			defer func() { err = errors.Join(err, unpin()) }()
		}
	}
	start := time.Now()
	r, err := c.run(ctx)
	b.log("  %s: %s: %v", s.file, r.name(), time.Since(start).Round(10*time.Millisecond))
	if err == nil {
		s.results = append(s.results, r)
	}
	return err
}

// payload returns data that looks like a task's: text that varies.
func payload(size int) []byte {
	const text = `{"status":"working","message":"rendering page 17 of 204","request":{"name":"render"}}`
	return []byte(strings.Repeat(text, size/len(text)+1)[:size])
}

func taskName(i int) string { return fmt.Sprint("task-", i) }

func taskNames(n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = taskName(i)
	}
	return names
}
