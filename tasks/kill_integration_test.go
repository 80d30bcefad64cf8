//go:build integration && unix

package tasks

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
)

// victimEnv has this test binary be a victim, and holds the victim's configuration.
const victimEnv = "TASKSTORE_TASKS_VICTIM"

type victimConfig struct {
	URL, Prefix string
	Seed        uint64
}

const (
	victimOwners = 8
	victimTasks  = 40
	victimActive = 15
)

// victimStore opens a store in which all expires soon.
func victimStore(c victimConfig) (*Store, *taskstore.RedisBackend, error) {
	b, err := taskstore.OpenRedis(ctx, c.URL, &taskstore.RedisOptions{Prefix: c.Prefix})
	if err != nil {
		return nil, nil, err
	}
	s, err := New(b, &Options{
		DefaultTTL: 300 * time.Millisecond, MaxTTL: time.Second, Retention: 200 * time.Millisecond, Lease: 100 * time.Millisecond,
		MaxTasks: victimTasks, MaxActive: victimActive,
	})
	return s, b, err
}

// A victim creates, ends, extends and deletes tasks until it is killed, and says each
// time that it did something.
func victim(config string) error {
	var c victimConfig
	if err := json.Unmarshal([]byte(config), &c); err != nil {
		return err
	}
	go func() { // the victim ends with its parent
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	s, _, err := victimStore(c)
	if err != nil {
		return err
	}
	var lines sync.Mutex
	var all sync.WaitGroup
	for worker := range uint64(4) {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(c.Seed, worker))
			var mine []Task
			for {
				did, err := misbehave(s, rng, &mine)
				if err != nil {
					did = "error " + err.Error()
				}
				lines.Lock()
				fmt.Println(did)
				lines.Unlock()
			}
		})
	}
	all.Wait()
	return nil
}

// misbehave does one random thing.
func misbehave(s *Store, rng *rand.Rand, mine *[]Task) (did string, err error) {
	o := victimOwner(rng.IntN(victimOwners))
	if len(*mine) == 0 || rng.IntN(3) == 0 {
		p := CreateParams{Holder: "x", Resumable: rng.IntN(4) == 0, TTL: time.Duration(50+rng.IntN(500)) * time.Millisecond}
		if rng.IntN(2) == 0 {
			p.IdempotencyKey = strconv.Itoa(rng.IntN(30))
		}
		t, created, err := s.Create(ctx, o, p)
		if created {
			*mine = append(*mine, t)
		}
		if errors.Is(err, ErrLimit) {
			return "refused", nil
		}
		return "create", err
	}
	i := rng.IntN(len(*mine))
	t := (*mine)[i]
	drop := func() { (*mine)[i] = (*mine)[len(*mine)-1]; *mine = (*mine)[:len(*mine)-1] }
	switch rng.IntN(8) {
	case 0, 1:
		drop()
		did = "end"
		_, err = s.RunOf(t).Complete(ctx, raw(`1`))
	case 2:
		drop()
		did, err = "delete", s.Delete(ctx, t.Owner, t.ID)
	case 3:
		did = "extend"
		_, err = s.Update(ctx, t.Owner, t.ID, atLeast(t.TTL+time.Duration(rng.IntN(400))*time.Millisecond))
	case 4:
		did = "shorten"
		_, err = s.Update(ctx, t.Owner, t.ID, func(t *Task) error { t.TTL = 100 * time.Millisecond; return nil })
	case 5:
		did = "renew"
		_, err = s.RunOf(t).Renew(ctx)
	case 6:
		drop() // it expires, or its next reader settles it
		did = "leave"
	case 7:
		did = "list"
		_, _, err = s.List(ctx, t.Owner, "", 100)
	}
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrTerminal) || errors.Is(err, ErrLeaseLost) {
		return "late", nil
	}
	return did, err
}

func victimOwner(i int) string { return "owner " + strconv.Itoa(i) }

// A death is a victim that will be killed.
type death struct {
	cmd   *exec.Cmd
	stdin io.Closer
	ended chan struct{}
}

func die(t *testing.T, c victimConfig, did func(what string)) *death {
	binary, err := os.Executable()
	require.NoError(t, err)
	config, err := json.Marshal(c)
	require.NoError(t, err)
	d := &death{cmd: exec.Command(binary), ended: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), victimEnv+"="+string(config))
	d.cmd.Stderr = os.Stderr
	d.stdin, err = d.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := d.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, d.cmd.Start())
	go func() {
		defer close(d.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			did(lines.Text())
		}
	}()
	return d
}

func (d *death) kill() {
	_ = d.cmd.Process.Kill() // SIGKILL
	<-d.ended
	_ = d.cmd.Wait()
	_ = d.stdin.Close()
}

// Three processes that make, end and delete tasks, or leave them to expire, 10,000 times,
// are killed at random. Whenever all are dead each task is whole and no limit is exceeded;
// and in the end no key is left.
func TestKilledProcessesLeaveNoKey(t *testing.T) {
	const wanted = 10_000
	c := victimConfig{URL: redistest.SharedURL(t), Prefix: uuid.NewString()}
	s, b, err := victimStore(c)
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	var done atomic.Int64
	var mu sync.Mutex
	counts := map[string]int{}
	did := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		if strings.HasPrefix(what, "error ") {
			assert.Fail(t, what)
		}
		counts[what]++
		switch what {
		case "create", "end", "delete", "leave":
			done.Add(1)
		}
	}
	kills, looks := 0, 0
	for round := uint64(0); done.Load() < wanted; round++ {
		require.False(t, t.Failed())
		var all sync.WaitGroup
		for i := range uint64(3) {
			all.Go(func() {
				c := c
				c.Seed = round*3 + i
				before := done.Load()
				d := die(t, c, did)
				for limit := time.Now().Add(10 * time.Second); done.Load() == before && time.Now().Before(limit); {
					time.Sleep(time.Millisecond) // it lives
				}
				time.Sleep(time.Duration(rand.IntN(200_000)) * time.Microsecond)
				d.kill()
			})
			kills++
		}
		all.Wait()
		for i := range victimOwners {
			looks += wholeAfterKill(t, s, victimOwner(i))
		}
	}
	t.Logf("%d kills, %d tasks looked at, %v", kills, looks, counts)
	assert.Positive(t, counts["end"])
	assert.Positive(t, counts["delete"])
	assert.Positive(t, counts["refused"])
	nothingLeft(t, c)
}

// wholeAfterKill checks the records of one owner while all victims are dead. It leaves out
// records that expire on the way, and returns the number of tasks.
func wholeAfterKill(t *testing.T, s *Store, owner string) int {
	t.Helper()
	list := func(prefix taskstore.Key) []taskstore.Record {
		records, err := s.backend.ListByPrefix(ctx, prefix)
		require.NoError(t, err)
		return records
	}
	expiries := func(got map[string]int64, k taskstore.Key, at time.Time) {
		got[k.Collection+" "+k.Task] = at.UnixMilli()
	}
	all, actives, keys := list(tasksKey(owner)), list(activeKey(owner, "")), list(idempotencyKey(owner, ""))
	assert.LessOrEqual(t, len(all), victimTasks)
	assert.LessOrEqual(t, len(actives), victimActive)
	got, want := map[string]int64{}, map[string]int64{}
	for _, r := range append(actives, keys...) {
		expiries(got, r.Key, r.ExpiresAt)
	}
	for _, raw := range all {
		r, err := recordOf(raw)
		require.NoError(t, err)
		if r.key != "" {
			expiries(want, idempotencyKey(owner, r.key), raw.ExpiresAt)
		}
		if !r.Status.Terminal() {
			expiries(want, activeKey(owner, r.ID), raw.ExpiresAt)
		}
	}
	now, err := s.now(ctx)
	require.NoError(t, err)
	expired := func(_ string, at int64) bool { return at <= now.UnixMilli() }
	maps.DeleteFunc(got, expired)
	maps.DeleteFunc(want, expired)
	assert.Equal(t, want, got)
	return len(all)
}

// nothingLeft waits until the server has no key of the prefix.
func nothingLeft(t *testing.T, c victimConfig) {
	options, err := redis.ParseURL(c.URL)
	require.NoError(t, err)
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	left := func() (keys []string) {
		walk := client.Scan(context.Background(), 0, "*"+c.Prefix+"*", 1000).Iterator()
		for walk.Next(ctx) {
			keys = append(keys, walk.Val())
		}
		require.NoError(t, walk.Err())
		return keys
	}
	for limit := time.Now().Add(15 * time.Second); len(left()) > 0 && time.Now().Before(limit); {
		time.Sleep(100 * time.Millisecond)
	}
	assert.Empty(t, left())
}
