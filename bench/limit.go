package main

import (
	"context"
	"encoding"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"github.com/taskstore/taskstore"
)

// The limit is go-redis sending what taskstore sends, with nothing around it: what
// is above it no store on this client can reach.

// A way is how go-redis sends a command and waits for its answer.
type way func(ctx context.Context, cmd redis.Cmder) error

// The names of the limit in the tables.
const (
	ours         = "taskstore"
	oursPiped    = "taskstore, automatic pipelining"
	oursInMemory = "taskstore, memory"
	raw          = "go-redis"
	rawAgain     = "go-redis, again"
	rawAuto      = "go-redis, automatic pipelining"
	rawAsync     = "go-redis, automatic pipelining that heeds ctx"
	rawPiped     = "go-redis, pipelines of 100"
	rawNoop      = "go-redis, script that does nothing"
	piped        = 100
	limitUser    = "limit"
)

// sent records the commands that go through a client.
type sent struct {
	mu   sync.Mutex
	last map[string][]any // by name, lower case
}

func (s *sent) note(cmd redis.Cmder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[string][]any)
	}
	s.last[strings.ToLower(cmd.Name())] = ready(cmd.Args())
}

// ready returns arguments with those that the client would have to ask for their
// bytes made bytes.
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

// A rawTask is a task that a caller of the limit has for itself, with the commands
// that taskstore sends for it. The two updates take each other back, so both can
// be sent for ever without anything to compute.
type rawTask struct {
	get     []any
	updates [2][]any
	results [2]string
}

// rawTasks makes n tasks of that size through taskstore and keeps what it sends.
func (b *bench) rawTasks(ctx context.Context, n, size int) ([]rawTask, error) {
	c := b.newClient(dbLimit)
	record := new(sent)
	c.AddHook(record)
	store, err := taskstore.NewRedisBackend(c, nil)
	if err != nil {
		return nil, err
	}
	now, err := store.Now(ctx) // without it the first writes look closely at the time
	if err != nil {
		return nil, err
	}
	v := taskstore.Value{Data: payload(size), ExpiresAt: now.AddDate(0, 0, 1)}
	tasks := make([]rawTask, n)
	for i := range tasks {
		key := taskstore.Key{Owner: limitUser, Task: fmt.Sprint("raw-", size, "-", i)}
		version, err := store.Put(ctx, key, v)
		if err != nil {
			return nil, err
		}
		if _, err := store.PutIfVersion(ctx, key, v, version); err != nil {
			return nil, err
		}
		swap := record.last["evalsha"]
		if _, err := store.Get(ctx, key); err != nil {
			return nil, err
		}
		from, to := fmt.Sprint(version), fmt.Sprint(version+1)
		back, err := swapped(swap, from, to)
		if err != nil {
			return nil, err
		}
		tasks[i] = rawTask{get: record.last["hmget"], updates: [2][]any{back, swap}, results: [2]string{from, to}}
	}
	return tasks, nil
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

// rawGet sends the HMGET of one task after the other.
func rawGet(send way, tasks []rawTask) call {
	return func(ctx context.Context, caller, i int) error {
		cmd := redis.NewSliceCmd(ctx, tasks[(caller*17+i)%len(tasks)].get...)
		if err := send(ctx, cmd); err != nil {
			return err
		}
		if values := cmd.Val(); len(values) == 0 || values[0] == nil {
			return errors.New("there is no task")
		}
		return nil
	}
}

// rawUpdate sends the two updates of caller's task in turns, from wherever the
// last turn ended.
func rawUpdate(send way, tasks []rawTask) call {
	turns := make([]int, len(tasks))
	return func(ctx context.Context, caller, _ int) error {
		turn := turns[caller]
		cmd := redis.NewCmd(ctx, tasks[caller].updates[turn]...)
		if err := send(ctx, cmd); err != nil {
			return err
		}
		if got := cmd.Val(); got != tasks[caller].results[turn] {
			return fmt.Errorf("the update gives %q", got)
		}
		turns[caller] = 1 - turn
		return nil
	}
}

// rawNothing runs a script that does nothing with a payload.
func rawNothing(ctx context.Context, c *redis.Client, size int) (call, error) {
	sha, err := c.ScriptLoad(ctx, "return 1").Result()
	data := string(payload(size))
	return func(ctx context.Context, _, _ int) error { return c.Do(ctx, "evalsha", sha, 1, "nothing", data).Err() }, err
}

// rawPipeline sends pipelines of gets; its call counts as piped ones.
func rawPipeline(c *redis.Client, tasks []rawTask) call {
	return func(ctx context.Context, caller, _ int) error {
		pipe := c.Pipeline()
		for range piped {
			pipe.Do(ctx, tasks[caller].get...)
		}
		_, err := pipe.Exec(ctx)
		return err
	}
}

// A mode is a way with its name.
type mode struct {
	name string
	way  way
}

// modes returns the ways of go-redis: a connection for each command that is under
// way, twice, to show what the measurement cannot tell apart; and two that put
// commands of several callers into one pipeline. Of those the first waits for the
// answer whatever becomes of its ctx, as does the plain way.
func (b *bench) modes() ([]mode, error) {
	c := b.client(dbLimit)
	auto, err := c.AutoPipeline()
	if err != nil {
		return nil, err
	}
	async, err := c.AsyncAutoPipeline()
	return []mode{
		{raw, c.Process},
		{rawAgain, c.Process},
		{rawAuto, auto.Process},
		{rawAsync, func(ctx context.Context, cmd redis.Cmder) error { return async.Submit(ctx, cmd).WaitContext(ctx) }},
	}, err
}
