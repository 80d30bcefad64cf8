package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/cmd/taskstore/internal/look"
	"github.com/taskstore/taskstore/sqlitestore"
)

// On every store the forms that programs read stay as they are, and so does the table that
// people read. SQLite goes by the clock of the process, which a bubble stands in for.
func TestFormsOfOutput(t *testing.T) {
	t.Run("Memory", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			b := taskstore.NewMemoryBackend(nil)
			formsOfOutput(t, func() taskstore.StorageBackend { return b })
		})
	})
	t.Run("SQLite", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tasks.db")
			formsOfOutput(t, func() taskstore.StorageBackend {
				b, err := sqlitestore.Open(t.Context(), path, nil)
				require.NoError(t, err)
				return b
			})
		})
	})
}

// formsOfOutput fills the store and has each command open it.
func formsOfOutput(t *testing.T, open func() taskstore.StorageBackend) {
	b := open()
	f := fillOn(t, b)
	require.NoError(t, taskstore.Close(b))
	for name, args := range map[string][]string{
		"ls.txt":               {"ls", "--all"},
		"ls.json":              {"ls", "--all", "-o", "json"},
		"ls.jsonl":             {"ls", "--all", "-o", "jsonl"},
		"ls_empty.json":        {"ls", "--owner", "n:nobody", "-o", "json"},
		"owners.txt":           {"owners"},
		"owners.json":          {"owners", "-o", "json"},
		"owners.jsonl":         {"owners", "-o", "jsonl"},
		"get.txt":              {"get", f.working.ID},
		"get.json":             {"get", f.failed.ID, "-o", "json"},
		"get_payload.json":     {"get", f.failed.ID, "-o", "json", "--payload"},
		"get_payload.txt":      {"get", f.asked.ID, "--payload"},
		"get_payload_end.json": {"get", f.completed.ID, "-o", "json", "--payload"},
		"doctor.txt":           {"doctor", "--max-active", "2"},
		"doctor.json":          {"doctor", "--max-active", "2", "-o", "json"},
	} {
		r := run(t, open(), args...)
		golden(t, name, r.out)
		if strings.HasSuffix(name, ".json") {
			assert.True(t, json.Valid([]byte(r.out)), name)
		}
		if strings.HasSuffix(name, ".jsonl") {
			for line := range strings.Lines(r.out) {
				assert.True(t, json.Valid([]byte(line)), name)
			}
		}
		if name != "ls_empty.json" {
			assert.Empty(t, r.err, name)
		}
	}
}

// Arguments, results, questions and the text of errors are the client's.
func TestPayloadsAreShownWhenTheyAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		shown := func(args ...string) string {
			r := run(t, f, args...)
			require.Equal(t, exitOK, r.code, r.err)
			return r.out
		}
		all := shown("ls", "--all") + shown("ls", "--all", "-o", "json") + shown("owners")
		for _, id := range []string{f.completed.ID, f.failed.ID, f.asked.ID} {
			all += shown("get", id) + shown("get", id, "-o", "json")
			assert.Contains(t, shown("get", id, "--payload"), "argument")
		}
		for _, secret := range []string{"argument", "a result", "out of paper", "tray", "A4"} {
			assert.NotContains(t, all, secret)
		}
	})
}

func TestTasksAreChosen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		for name, c := range map[string]struct {
			args []string
			want []string
		}{
			"owner":  {[]string{"--owner", "n:bob"}, []string{f.orphan.ID}},
			"status": {[]string{"--all", "--status", "failed"}, []string{f.failed.ID}},
			"tool":   {[]string{"--all", "--tool", "search"}, []string{f.anonymous.ID, f.completed.ID}},
			"older":  {[]string{"--all", "--older", "5m"}, []string{f.orphan.ID}},
			"orphan": {[]string{"--all", "--orphans"}, []string{f.orphan.ID}},
			"order":  {[]string{"--owner", "n:alice"}, []string{f.completed.ID, f.failed.ID, f.asked.ID, f.working.ID}},
		} {
			r := run(t, f, append([]string{"ls", "-o", "jsonl"}, c.args...)...)
			require.Equal(t, exitOK, r.code, r.err)
			var ids []string
			for line := range strings.Lines(r.out) {
				var v look.Task
				require.NoError(t, json.Unmarshal([]byte(line), &v))
				ids = append(ids, v.ID)
			}
			assert.Equal(t, c.want, ids, name)
		}
	})
}
