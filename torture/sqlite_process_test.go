//go:build integration

package torture

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/sqlitestore"
)

// The test binary runs again as a process that makes the calls of others on an SQLite
// file. It ends with its standard input.
const (
	fileVariable  = "TASKSTORE_TORTURE_FILE"
	breakVariable = "TASKSTORE_TORTURE_BREAK"
)

func init() {
	if path := os.Getenv(fileVariable); path != "" {
		if err := serve(path, breaches[os.Getenv(breakVariable)]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// An order is a call that a process is to make, an answer the result of that call.
type order struct {
	ID       int
	Verb     Verb
	Key      taskstore.Key
	Data     []byte
	Expected taskstore.Version
	Batch    []taskstore.Write
}

type answer struct {
	ID       int
	Version  taskstore.Version
	Data     []byte
	Existed  bool
	Conflict *taskstore.VersionConflictError
	Index    int // of the write of a batch that is in conflict
	Missing  bool
	Err      string
}

// serve makes the calls that come, each on a goroutine of its own.
func serve(path string, breach func(taskstore.StorageBackend) taskstore.StorageBackend) error {
	file, err := sqlitestore.Open(context.Background(), path, nil)
	if err != nil {
		return err
	}
	defer file.Close()
	var b taskstore.StorageBackend = file
	if breach != nil {
		b = breach(b)
	}
	var mu sync.Mutex
	out := gob.NewEncoder(os.Stdout)
	for in := gob.NewDecoder(os.Stdin); ; {
		var o order
		if err := in.Decode(&o); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		go func() {
			a := carryOut(b, o)
			mu.Lock()
			defer mu.Unlock()
			_ = out.Encode(a)
		}()
	}
}

func carryOut(b taskstore.StorageBackend, o order) (a answer) {
	ctx, err := context.Background(), error(nil)
	a.ID = o.ID
	switch o.Verb {
	case Get:
		var r taskstore.Record
		r, err = b.Get(ctx, o.Key)
		a.Version, a.Data = r.Version, r.Data
	case Put:
		a.Version, err = b.Put(ctx, o.Key, taskstore.Value{Data: o.Data})
	case PutIfVersion:
		a.Version, err = b.PutIfVersion(ctx, o.Key, taskstore.Value{Data: o.Data}, o.Expected)
	case Delete:
		a.Existed, err = b.Delete(ctx, o.Key)
	case PutBatch:
		err = taskstore.PutBatch(ctx, b, o.Batch)
	}
	var refused *taskstore.BatchError
	if errors.As(err, &refused) {
		a.Index = refused.Index
	}
	switch {
	case errors.As(err, &a.Conflict):
	case errors.Is(err, taskstore.ErrNotFound):
		a.Missing = true
	case err != nil:
		a.Err = err.Error()
	}
	return a
}

// A remote is a backend that has a process make its calls. If the process was killed, the
// next call starts another.
type remote struct {
	taskstore.StorageBackend // for the methods that no history has
	t                        *testing.T
	path, breach             string

	mu      sync.Mutex
	cmd     *exec.Cmd // nil: no process runs
	out     *gob.Encoder
	ids     int
	waiting map[int]chan<- answer
}

// errKilled is the end of a read in a process that was killed.
var errKilled = errors.New("the process was killed")

func newRemote(t *testing.T, path, breach string) *remote {
	r := &remote{t: t, path: path, breach: breach}
	t.Cleanup(r.kill)
	return r
}

// start starts the process. r.mu is held.
func (r *remote) start() {
	exe, err := os.Executable()
	require.NoError(r.t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fileVariable+"="+r.path, breakVariable+"="+r.breach)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	require.NoError(r.t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(r.t, err)
	require.NoError(r.t, cmd.Start())
	waiting := make(map[int]chan<- answer)
	r.cmd, r.out, r.waiting = cmd, gob.NewEncoder(stdin), waiting
	go func() {
		for in := gob.NewDecoder(stdout); ; {
			var a answer
			err := in.Decode(&a)
			r.mu.Lock()
			if err != nil {
				for _, w := range waiting {
					close(w)
				}
				if r.cmd == cmd {
					r.cmd = nil
				}
				r.mu.Unlock()
				_ = cmd.Wait()
				return
			}
			waiting[a.ID] <- a
			delete(waiting, a.ID)
			r.mu.Unlock()
		}
	}()
}

// kill kills the process, in the middle of its work.
func (r *remote) kill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd != nil {
		_ = r.cmd.Process.Kill()
	}
}

// do has the process make a call. ok is false if the process was killed meanwhile.
func (r *remote) do(o order) (a answer, ok bool) {
	r.mu.Lock()
	if r.cmd == nil {
		r.start()
	}
	r.ids++
	o.ID = r.ids
	answered := make(chan answer, 1)
	r.waiting[o.ID] = answered
	_ = r.out.Encode(o) // or the process is dead, which its reader learns
	r.mu.Unlock()
	a, ok = <-answered
	return a, ok
}

func (r *remote) write(o order) (answer, error) {
	a, ok := r.do(o)
	if !ok {
		return a, taskstore.ErrOutcomeUnknown
	}
	return a, a.err(o.Key)
}

func (a answer) err(key taskstore.Key) error {
	switch {
	case a.Conflict != nil:
		a.Conflict.Key = key // gob leaves out empty fields
		return a.Conflict
	case a.Missing:
		return taskstore.ErrNotFound
	case a.Err != "":
		return errors.New(a.Err)
	}
	return nil
}

func (r *remote) Get(_ context.Context, key taskstore.Key) (taskstore.Record, error) {
	a, ok := r.do(order{Verb: Get, Key: key})
	if !ok {
		return taskstore.Record{}, errKilled
	}
	return taskstore.Record{Key: key, Version: a.Version, Value: taskstore.Value{Data: a.Data}}, a.err(key)
}

func (r *remote) Put(_ context.Context, key taskstore.Key, v taskstore.Value) (taskstore.Version, error) {
	a, err := r.write(order{Verb: Put, Key: key, Data: v.Data})
	return a.Version, err
}

func (r *remote) PutIfVersion(_ context.Context, key taskstore.Key, v taskstore.Value, expected taskstore.Version) (taskstore.Version, error) {
	a, err := r.write(order{Verb: PutIfVersion, Key: key, Data: v.Data, Expected: expected})
	return a.Version, err
}

func (r *remote) Delete(_ context.Context, key taskstore.Key) (bool, error) {
	a, err := r.write(order{Verb: Delete, Key: key})
	return a.Existed, err
}

func (r *remote) PutBatch(_ context.Context, writes []taskstore.Write) error {
	a, err := r.write(order{Verb: PutBatch, Batch: writes})
	if a.Conflict == nil {
		return err
	}
	return &taskstore.BatchError{Index: a.Index, Err: a.err(writes[a.Index].Key)}
}
