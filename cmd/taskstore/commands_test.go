package main

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// A task is found by its id alone, also by the id that a client of an anonymous one knows.
func TestATaskIsFoundByItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		for _, args := range [][]string{
			{f.orphan.ID}, {f.orphan.ID, "--owner", "n:bob"}, {f.anonymous.ID + "-3f"}, {f.anonymous.ID}, {f.anonymous.ID + "-3f", "--owner", "a:3f"},
		} {
			r := run(t, f, append([]string{"get"}, args...)...)
			assert.Equal(t, exitOK, r.code, r.err)
			assert.Contains(t, r.out, args[0][:36])
		}
		for _, args := range [][]string{{f.orphan.ID, "--owner", "n:alice"}, {"rubbish"}, {f.anonymous.ID + "-3e"}, {strings.Repeat("0", 36)}} {
			r := run(t, f, append([]string{"get"}, args...)...)
			assert.Equal(t, exitFailed, r.code)
			assert.Contains(t, r.err, "no such task")
			assert.Empty(t, r.out)
		}
	})
}

func TestTasksAreEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		s, err := tasks.New(f.MemoryBackend, nil)
		require.NoError(t, err)
		status := func(task tasks.Task) tasks.Task {
			t.Helper()
			got, err := s.Get(t.Context(), task.Owner, task.ID)
			require.NoError(t, err)
			return got
		}
		r := run(t, f, "cancel", f.anonymous.ID)
		assert.Contains(t, r.out, "cancelled: ", r.err)
		assert.Equal(t, tasks.Cancelled, status(f.anonymous).Status)
		r = run(t, f, "cancel", f.working.ID)
		assert.Contains(t, r.out, "its runner is asked", r.err)
		assert.True(t, status(f.working).CancelRequested)
		r = run(t, f, "cancel", f.failed.ID)
		assert.Contains(t, r.out, "it has already ended", r.err)
		r = run(t, f, "fail", f.working.ID, "--message", "too late")
		assert.Equal(t, exitOK, r.code, r.err)
		assert.Equal(t, &tasks.Error{Code: -32603, Message: "too late"}, status(f.working).Error)
		r = run(t, f, "fail", f.working.ID)
		assert.Equal(t, exitFailed, r.code)
		assert.Contains(t, r.err, "it has already ended")
	})
}

// The command asks the operator before a removal, as it cannot be undone. Without a terminal
// to ask at it refuses.
func TestRemovalIsConfirmed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		terminal := func(answer string) func(*app) {
			return func(a *app) { a.errTTY, a.in = true, strings.NewReader(answer) }
		}
		there := func() bool { return run(t, f, "get", f.failed.ID).code == exitOK }
		for name, r := range map[string]result{
			"delete": run(t, f, "delete", f.failed.ID),
			"purge":  run(t, f, "purge", "--owner", "n:alice"),
		} {
			assert.Equal(t, exitUsage, r.code, name)
			assert.Contains(t, r.err, "--yes", name)
		}
		for _, answer := range []string{"", "n\n", "\n", "no\n", "yess\n"} {
			r := runWith(t, f, terminal(answer), "delete", f.failed.ID)
			assert.Equal(t, exitFailed, r.code)
			assert.Contains(t, r.err, "the command removed no task")
			assert.True(t, there())
		}
		r := runWith(t, f, terminal("y\n"), "delete", f.failed.ID)
		assert.Equal(t, exitOK, r.code, r.err)
		assert.False(t, there())
		r = run(t, f, "purge", "--yes", "--owner", "n:alice")
		assert.Equal(t, exitOK, r.code, r.err)
		assert.Equal(t, "working         1\ninput_required  1\ncompleted       1\nremoved         3\n", r.out)
		assert.NotContains(t, run(t, f, "owners").out, "alice")
		assert.Contains(t, run(t, f, "owners").out, "n:bob")
	})
}

// bare hides the power to list owners.
type bare struct{ taskstore.StorageBackend }

func TestAStoreThatCannotListOwnersIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		for _, args := range [][]string{{"ls", "--all"}, {"owners"}, {"get", f.failed.ID}, {"top", "--all"}} {
			r := run(t, bare{f}, args...)
			assert.Equal(t, exitFailed, r.code)
			assert.Contains(t, r.err, "this store cannot list its owners; name one by --owner")
		}
		assert.Equal(t, exitOK, run(t, bare{f}, "get", f.failed.ID, "--owner", "n:alice").code)
		r := run(t, bare{f}, "doctor")
		assert.Equal(t, exitOK, r.code)
		assert.Contains(t, r.out, "unknown: this store cannot list its owners")
	})
}

func TestAnOwnerWithoutTasksIsHintedAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		assert.Contains(t, run(t, f, "ls", "--owner", "alice").err, "n:alice")
		assert.Empty(t, run(t, f, "ls", "--owner", "n:carol").err)
		assert.Empty(t, run(t, f, "ls", "--owner", "n:alice", "--status", "cancelled").err)
	})
}

func TestMistakesInTheCommandLine(t *testing.T) {
	b := taskstore.NewMemoryBackend(nil)
	for _, args := range [][]string{
		{"ls"}, {"ls", "--all", "--owner", "x"}, {"ls", "--all", "--status", "done"}, {"ls", "--all", "-o", "xml"}, {"ls", "--all", "extra"},
		{"get"}, {"get", "a", "b"}, {"watch"}, {"purge"}, {"bench", "--duration", "0s"}, {"top", "--all", "--interval", "0s"}, {"--nonsense"}, {"nonsense"},
		{"ls", "--all", "--older=-5m"}, {"ls", "--all", "--timeout=-1s"}, {"doctor", "--timeout=-1s"}, {"completion", "nonsense"}, {"help", "nonsense"},
	} {
		r := run(t, b, args...)
		assert.Equal(t, exitUsage, r.code, "%v: %s", args, r.err)
		assert.Empty(t, r.out, args)
		assert.Equal(t, 1, strings.Count(r.err, "\n"), r.err)
	}
}

// The command shows a bar on terminals only, and not between the lines of a table.
func TestProgressIsShownOnTerminals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		for _, args := range [][]string{{"ls", "--all"}, {"ls", "--all", "-o", "jsonl"}, {"owners"}, {"get", f.failed.ID}, {"doctor"}} {
			piped := run(t, f, args...)
			assert.Empty(t, piped.err, args)
			shown := runWith(t, f, func(a *app) { a.errTTY = true }, args...)
			assert.Contains(t, shown.err, "owners", args)
			assert.Equal(t, piped.out, shown.out)
			var screen bytes.Buffer
			runWith(t, f, func(a *app) { a.errTTY, a.outTTY, a.out, a.err = true, true, &screen, &screen }, args...)
			for line := range strings.Lines(piped.out) {
				before, _, shown := strings.Cut("\n"+screen.String(), line)
				assert.True(t, shown && strings.ContainsAny(before[len(before)-1:], "\r\n"), "%v: a line of its own: %s", args, line)
			}
			last := screen.String()[strings.LastIndex(screen.String(), "\r")+1:]
			assert.NotContains(t, last, "%", "the progress bar is erased")
		}
	})
}

// interrupting is a backend that lists its owners. Its reads of tasks call stop, the
// operator's interrupt, and last until the command's context ends.
type interrupting struct {
	*taskstore.MemoryBackend
	stop context.CancelFunc
}

func (b interrupting) Get(ctx context.Context, _ taskstore.Key) (taskstore.Record, error) {
	b.stop()
	<-ctx.Done()
	return taskstore.Record{}, ctx.Err()
}

func (b interrupting) ListPage(ctx context.Context, _ taskstore.Key, _ string, _ int) ([]taskstore.Record, string, error) {
	b.stop()
	<-ctx.Done()
	return nil, "", ctx.Err()
}

func TestAnInterruptEndsEveryCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		for _, args := range [][]string{
			{"ls", "--all", "-o", "json"}, {"get", f.failed.ID}, {"owners"}, {"top", "--all"}, {"watch", "--owner", "n:bob"}, {"watch", f.failed.ID},
			{"cancel", f.failed.ID}, {"doctor"}, {"purge", "--yes", "--owner", "n:bob"},
		} {
			ctx, stop := context.WithCancel(t.Context())
			var out, errs bytes.Buffer
			a := &app{in: strings.NewReader(""), out: &out, err: &errs, getenv: func(string) string { return "" }}
			a.open = func(context.Context) (taskstore.StorageBackend, error) {
				return interrupting{f.MemoryBackend, stop}, nil
			}
			assert.Equal(t, exitInterrupted, a.run(ctx, args), args)
			assert.Equal(t, "taskstore: interrupted\n", errs.String(), args)
		}
	})
}

func TestTheTimeoutEndsACommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		hung := interrupting{f.MemoryBackend, func() {}}
		begin := time.Now()
		r := run(t, hung, "ls", "--all", "--timeout", "3s")
		assert.Equal(t, exitFailed, r.code)
		assert.Contains(t, r.err, "--timeout")
		assert.Equal(t, 3*time.Second, time.Since(begin))
	})
}

// The command reports a record that it cannot read, and shows all others.
func TestUnreadableTasksAreReported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		spoil(t, f.MemoryBackend, f.failed, `{"format":9}`)
		for _, args := range [][]string{{"ls", "--all"}, {"owners"}} {
			r := run(t, f, args...)
			assert.Equal(t, exitFailed, r.code)
			assert.Contains(t, r.err, f.failed.ID)
			assert.Contains(t, r.err, "newer")
		}
		assert.Contains(t, run(t, f, "ls", "--all", "-o", "json").out, `"unreadable": 1}`)
		assert.Contains(t, run(t, f, "ls", "--all").out, f.working.ID)
		r := run(t, f, "delete", "--yes", f.failed.ID)
		assert.Equal(t, exitOK, r.code, r.err)
		assert.Equal(t, exitOK, run(t, f, "ls", "--all").code)
		spoil(t, f.MemoryBackend, f.completed, "rubbish")
		r = run(t, f, "purge", "--yes", "--owner", "n:alice")
		assert.Equal(t, exitOK, r.code, r.err)
		assert.Contains(t, r.out, "unreadable      1\nremoved         3\n")
	})
}

// spoil writes data over the record of a task, in any layout.
func spoil(t *testing.T, b taskstore.StorageBackend, task tasks.Task, data string) {
	t.Helper()
	records, err := b.ListByPrefix(t.Context(), taskstore.Key{Owner: "u:" + task.Owner})
	require.NoError(t, err)
	for _, r := range records {
		if strings.HasSuffix(r.Key.Task, task.ID) {
			r.Data = []byte(data)
			_, err := b.Put(t.Context(), r.Key, r.Value)
			require.NoError(t, err)
			return
		}
	}
	t.Fatal(errors.New("the record was not found"))
}

// busy is a backend with an owner that makes another task whenever one is removed.
type busy struct {
	*filled
	another func()
}

func (b busy) Delete(ctx context.Context, key taskstore.Key) (bool, error) {
	b.another()
	return b.MemoryBackend.Delete(ctx, key)
}

// ListPage has a record at a time, so that the walk comes to those that are made during it.
func (b busy) ListPage(ctx context.Context, prefix taskstore.Key, cursor string, _ int) ([]taskstore.Record, string, error) {
	return b.MemoryBackend.ListPage(ctx, prefix, cursor, 1)
}

// A purge ends even while its owner makes tasks.
func TestAPurgeLeavesTasksThatAreMadeMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		s, err := tasks.New(f.MemoryBackend, nil)
		require.NoError(t, err)
		made := 0
		b := busy{f, func() {
			if made++; made > 20 { // or it does not end
				return
			}
			time.Sleep(2 * time.Second)
			_, _, err := s.Create(t.Context(), "n:alice", tasks.CreateParams{})
			assert.NoError(t, err)
		}}
		r := run(t, b, "purge", "--yes", "--owner", "n:alice")
		assert.Equal(t, exitOK, r.code, r.err)
		assert.Contains(t, r.out, "removed         4\n")
	})
}

// A server has a minute to find a lost task before doctor reports it.
func TestDoctorLeavesServersAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := taskstore.NewMemoryBackend(nil)
		s, err := tasks.New(b, nil)
		require.NoError(t, err)
		_, _, err = s.Create(t.Context(), "n:alice", tasks.CreateParams{Holder: "gone"})
		require.NoError(t, err)
		time.Sleep(s.Options().Lease + 59*time.Second)
		assert.Contains(t, run(t, b, "ls", "--all").out, "orphan")
		assert.Equal(t, exitOK, run(t, b, "doctor").code)
		time.Sleep(2 * time.Second)
		r := run(t, b, "doctor")
		assert.Equal(t, exitFailed, r.code)
		assert.Contains(t, r.out, "lost runners): 1")
	})
}

func TestBenchLeavesNoTasks(t *testing.T) {
	b := taskstore.NewMemoryBackend(nil)
	r := run(t, b, "bench", "--duration", "50ms", "--clients", "2")
	assert.Equal(t, exitOK, r.code, r.err)
	for _, call := range lifeCalls {
		assert.Contains(t, r.out, call)
	}
	for owner := range b.Owners(t.Context()) {
		assert.False(t, strings.HasPrefix(owner, "u:"), owner)
	}
}

func TestTopSumsUpPerTool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		r := run(t, f, "top", "--all", "--timeout", "7s")
		looks := strings.Split(r.out, "TOOL")
		require.Len(t, looks, 3, "one at once and one five seconds later")
		assert.Contains(t, looks[1], "render  2        1      0          1       0          1        10m")
		assert.Contains(t, looks[1], "search  1        0      1          0       0          0        2s ")
		assert.NotContains(t, r.out, "\x1b")
		time.Sleep(49 * time.Second) // the one that has ended is older than a minute by now
		r = run(t, f, "top", "--all", "--timeout", "1s")
		assert.Contains(t, r.out, "search  1        0      1          0       0          0        58s     1         0")
	})
}

func TestWatchFollowsATaskToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		s, err := tasks.New(f.MemoryBackend, nil)
		require.NoError(t, err)
		go func() {
			time.Sleep(3500 * time.Millisecond)
			_, _ = s.Complete(context.Background(), f.working.Owner, f.working.ID, []byte(`{}`))
		}()
		r := run(t, f, "watch", f.working.ID, "-o", "jsonl")
		assert.Equal(t, exitOK, r.code, r.err)
		lines := strings.Split(strings.TrimSpace(r.out), "\n")
		require.Len(t, lines, 2)
		assert.Contains(t, lines[0], `"status":"working"`)
		assert.Contains(t, lines[1], `"status":"completed"`)
	})
}
