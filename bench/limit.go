package main

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/bench/peers"
)

// The names of the limit, and of ours, in the tables.
const (
	ours         = "taskstore"
	oursEndless  = "taskstore, ctx without end"
	oursPiped    = "taskstore, automatic pipelining"
	oursInMemory = "taskstore, memory"
	raw          = "go-redis"
	rawAgain     = "go-redis, again"
	rawPiped     = "go-redis, automatic pipelining"
	model        = "model"
)

func isLimit(p peers.Peer) bool { return strings.HasPrefix(p.Name, raw) }

// limits returns go-redis as peers that send exactly the commands of taskstore, without any
// work around them: a store on this client can be as fast at best. The second shows the error
// of the measurement. The third puts commands of several callers into one pipeline and heeds
// ctx, as taskstore with automatic pipelining does.
func (b *bench) limits(ctx context.Context) ([]peers.Peer, error) {
	c := b.client(dbLimit)
	async, err := c.AsyncAutoPipeline()
	if err != nil {
		return nil, err
	}
	var all []peers.Peer
	for _, way := range []struct {
		name string
		send func(context.Context, redis.Cmder) error
	}{
		{raw, c.Process},
		{rawAgain, c.Process},
		{rawPiped, func(ctx context.Context, cmd redis.Cmder) error { return async.Submit(ctx, cmd).WaitContext(ctx) }},
	} {
		l, err := b.newLimit(ctx, fmt.Sprint("limit-", len(all)), way.send)
		if err != nil {
			return nil, err
		}
		all = append(all, peers.Peer{Name: way.name, Create: l.create, Get: l.get, Update: l.update})
	}
	return all, nil
}

// A limit sends the commands that taskstore sent for the same tasks.
type limit struct {
	name   string // its owners begin with it
	send   func(context.Context, redis.Cmder) error
	store  *taskstore.RedisBackend
	record sent
	expiry time.Time

	mu    sync.RWMutex
	tasks map[string]*rawTask
}

// A rawTask has the commands that taskstore sends for a task. Its two updates take each other
// back, so they can be sent in turns for ever.
type rawTask struct {
	data    []byte
	get     []any
	updates [2][]any
	results [2]string
	turn    int
}

func (b *bench) newLimit(ctx context.Context, name string, send func(context.Context, redis.Cmder) error) (*limit, error) {
	c := b.newClient(dbLimit)
	l := &limit{name: name, send: send, tasks: make(map[string]*rawTask)}
	c.AddHook(&l.record)
	var err error
	if l.store, err = taskstore.NewRedisBackend(c, nil); err != nil {
		return nil, err
	}
	now, err := l.store.Now(ctx) // without it the first writes look closely at the time
	l.expiry = now.AddDate(0, 0, 1)
	return l, err
}

// create, which has no contest, has taskstore write, update and read the task.
func (l *limit) create(ctx context.Context, owner, task string, data []byte) (peers.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := taskstore.Key{Owner: l.name + "-" + owner, Task: task}
	v := taskstore.Value{Data: data, ExpiresAt: l.expiry}
	l.record.begin(task)
	version, err := l.store.Put(ctx, key, v)
	if err != nil {
		return peers.Record{}, err
	}
	if _, err := l.store.PutIfVersion(ctx, key, v, version); err != nil {
		return peers.Record{}, err
	}
	swap := l.record.command("evalsha")
	if _, err := l.store.Get(ctx, key); err != nil {
		return peers.Record{}, err
	}
	from, to := fmt.Sprint(version), fmt.Sprint(version+1)
	back, err := swapped(swap, from, to)
	if err != nil {
		return peers.Record{}, err
	}
	l.tasks[owner+"/"+task] = &rawTask{data: data, get: l.record.command("hmget"), updates: [2][]any{back, swap}, results: [2]string{from, to}}
	return peers.Record{}, nil
}

func (l *limit) task(owner, task string) *rawTask {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.tasks[owner+"/"+task]
}

// get returns the data as they were written, since taskstore's limit need not copy them.
func (l *limit) get(ctx context.Context, owner, task string) (peers.Record, error) {
	t := l.task(owner, task)
	cmd := redis.NewSliceCmd(ctx, t.get...)
	if err := l.send(ctx, cmd); err != nil {
		return peers.Record{}, err
	}
	if values := cmd.Val(); len(values) == 0 || values[0] == nil {
		return peers.Record{}, errors.New("go-redis finds no task")
	}
	return peers.Record{Data: t.data}, nil
}

// update sends the next of the task's two updates. A task has one caller.
func (l *limit) update(ctx context.Context, owner, task string, _ []byte, _ peers.Record) (peers.Record, error) {
	t := l.task(owner, task)
	cmd := redis.NewCmd(ctx, t.updates[t.turn]...)
	if err := l.send(ctx, cmd); err != nil {
		return peers.Record{}, err
	}
	if got := cmd.Val(); got != t.results[t.turn] {
		return peers.Record{}, fmt.Errorf("the update gives %q", got)
	}
	t.turn = 1 - t.turn
	return peers.Record{}, nil
}

// sent records the commands that go through a client, but for scripts without the task: the
// store reads the server's clock from time to time.
type sent struct {
	mu   sync.Mutex
	task string
	last map[string][]any // by name, lower case
}

// begin has the commands of a task recorded.
func (s *sent) begin(task string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.task, s.last = task, make(map[string][]any)
}

func (s *sent) note(cmd redis.Cmder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name, args := strings.ToLower(cmd.Name()), ready(cmd.Args())
	if s.last != nil && (name != "evalsha" || slices.Contains(args, any(s.task))) {
		s.last[name] = args
	}
}

// command returns the last of that name.
func (s *sent) command(name string) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last[name]
}

// ready returns arguments with all that are marshalled at the write marshalled.
func ready(args []any) []any {
	args = slices.Clone(args)
	for i, a := range args {
		if m, ok := a.(encoding.BinaryMarshaler); ok {
			if text, err := m.MarshalBinary(); err == nil {
				args[i] = string(text)
			}
		}
	}
	return args
}

func (s *sent) DialHook(next redis.DialHook) redis.DialHook { return next }

func (s *sent) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		s.note(cmd)
		return next(ctx, cmd)
	}
}

func (s *sent) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			s.note(cmd)
		}
		return next(ctx, cmds)
	}
}

// swapped returns the arguments with two values in each other's place.
func swapped(args []any, a, b string) ([]any, error) {
	swap := slices.Clone(args)
	found := 0
	for i, arg := range args {
		switch arg {
		case a:
			swap[i] = b
			found++
		case b:
			swap[i] = a
			found++
		}
	}
	if found != 2 {
		return nil, errors.New("the script's versions have to be among its arguments once each: adapt the limit to taskstore's present commands")
	}
	return swap, nil
}
