package main

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/taskstore/taskstore"
)

// Names in the tables of the whole stack.
const (
	constantServer = "a constant, same server"
	stackMemory    = "taskstore in memory"
	stackRedis     = "taskstore in Redis"
	stackPiped     = "taskstore in Redis, automatic pipelining"
)

const (
	requestGet    = "tasks/get"
	requestCreate = "tools/call to its task"
)

// stackTopic measures requests of MCP clients over HTTP, client and MCP server in this
// process. One caller, and with it the MCP server, has a core, and Redis another.
func (b *bench) stackTopic(ctx context.Context) (err error) {
	s := b.sheet(sheet{file: "stack", keys: []string{"request", "callers"}, reference: constantServer, columns: []column{
		{"requests_per_s", value}, {"p50_us", p50}, {"p99_us", p99},
	}})
	most := slices.Max(b.StackCallers)
	onRedis, err := taskstore.NewRedisBackend(b.client(dbOurs), nil)
	if err != nil {
		return err
	}
	piped, err := taskstore.NewRedisBackend(b.client(dbOurs), &taskstore.RedisOptions{AutoPipeline: true})
	if err != nil {
		return err
	}
	names := []string{stackMemory, stackRedis, stackPiped}
	var replicas []*replica
	defer func() {
		for _, r := range replicas {
			err = errors.Join(err, r.close())
		}
		err = errors.Join(err, b.flush(ctx))
	}()
	for _, open := range []func() (*replica, error){
		func() (*replica, error) { return newReplica(taskstore.NewMemoryBackend(nil), most) },
		func() (*replica, error) { return newReplica(onRedis, most) },
		func() (*replica, error) { return newReplica(piped, most) },
	} {
		r, err := open()
		if err != nil {
			return err
		}
		replicas = append(replicas, r)
	}
	for _, callers := range b.StackCallers {
		contest := func(request string) Contest {
			return Contest{Keys: []string{request, strconv.Itoa(callers)}, Rounds: b.Turns, Pinned: callers == 1}
		}
		get, create := contest(requestGet), contest(requestCreate)
		get.Contestants = []Contestant{b.loaded(constantServer, callers, 1, func(ctx context.Context, _, _ int) error {
			_, err := replicas[0].post(ctx, constantMethod, map[string]any{"taskId": replicas[0].done})
			return err
		})}
		for i, r := range replicas {
			get.Contestants = append(get.Contestants, b.loaded(names[i], callers, 1, func(ctx context.Context, _, _ int) error {
				_, err := r.get(ctx, r.done)
				return err
			}))
			create.Contestants = append(create.Contestants, b.loaded(names[i], callers, 1, func(ctx context.Context, _, _ int) error {
				_, err := r.create(ctx)
				return err
			}))
		}
		for _, c := range []Contest{get, create} {
			if err := b.contest(ctx, s, c); err != nil {
				return err
			}
		}
	}
	return nil
}
