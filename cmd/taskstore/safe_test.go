package main

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/tasks"
)

// harmful is text that moves a cursor, sets a title, writes to a clipboard and turns a line
// around, in sequences of seven and eight bits, whole and broken off.
const harmful = "a\x1b[2Jb\x1b]0;title\x07c\x1b]52;c;cm0=\x1b\\d\u009b31me\u202ef\x08\x7f\r\x1b[g\u2028h\x1b"

// The command escapes all texts that a server or a client has stored, so the terminal reads
// them as text.
func TestNoSequenceReachesTheTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fill(t)
		s, err := tasks.New(f.MemoryBackend, nil)
		require.NoError(t, err)
		owner := "n:" + harmful
		text, err := json.Marshal(harmful)
		require.NoError(t, err)
		task, _, err := s.Create(t.Context(), owner, tasks.CreateParams{
			Request: json.RawMessage(`{"name":` + string(text) + `,"raw":"` + "\u009b31m\u202e\x7f" + `"}`), StatusMessage: harmful, Holder: harmful, Service: harmful, Resumable: true,
		})
		require.NoError(t, err)
		ended, _, err := s.Create(t.Context(), owner, tasks.CreateParams{})
		require.NoError(t, err)
		_, err = s.Fail(t.Context(), owner, ended.ID, tasks.Error{Code: 1, Message: harmful})
		require.NoError(t, err)
		for _, args := range [][]string{
			{"ls", "--all"}, {"ls", "--all", "-o", "json"}, {"ls", "--all", "-o", "jsonl"}, {"owners"}, {"owners", "-o", "json"},
			{"get", task.ID}, {"get", task.ID, "--payload"}, {"get", task.ID, "-o", "json", "--payload"}, {"get", ended.ID, "--payload"},
			{"watch", ended.ID}, {"fail", ended.ID}, {"cancel", task.ID}, {"delete", task.ID}, {"ls", "--owner", harmful}, {"ls", harmful},
			{"top", "--all", "--timeout", "1s"}, {"watch", "--owner", owner, "--timeout", "1s"},
			{"delete", task.ID, "--yes"}, {"purge", "--yes", "--owner", owner}, {"doctor"},
		} {
			r := run(t, f, args...)
			assert.NotEmpty(t, r.out+r.err, args)
			at := strings.IndexFunc(r.out+r.err, func(r rune) bool {
				return r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
			})
			assert.Negative(t, at, "%q prints %q", args, r.out+r.err)
		}
	})
}

// JSON says the same as before it was made fit for a terminal.
func TestJSONKeepsItsStrings(t *testing.T) {
	text, err := encode(map[string]any{"a": harmful, "b": json.RawMessage("\"\u009b\u202e\x7f\"")}, "  ")
	require.NoError(t, err)
	var back map[string]string
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, map[string]string{"a": harmful, "b": "\u009b\u202e\x7f"}, back)
}

// An owner may be any bytes. A table has a mark in the place of those that are no text, JSON
// also has the bytes, and the command line takes them.
func TestAnOwnerThatIsNoTextIsNamedByItsBytes(t *testing.T) {
	const owner = "n:\xff\x1b[1m"
	b := taskstore.NewMemoryBackend(nil)
	s, err := tasks.New(b, nil)
	require.NoError(t, err)
	task, _, err := s.Create(t.Context(), owner, tasks.CreateParams{})
	require.NoError(t, err)
	for _, args := range [][]string{
		{"ls", "--all", "-o", "jsonl"}, {"ls", "--owner", owner, "-o", "jsonl"}, {"owners", "-o", "jsonl"}, {"get", task.ID, "-o", "json"},
	} {
		r := run(t, b, args...)
		require.Equal(t, exitOK, r.code, r.err)
		var v struct {
			Owner string `json:"owner"`
			Bytes []byte `json:"owner_base64"`
		}
		require.NoError(t, json.Unmarshal([]byte(r.out), &v), args)
		assert.Equal(t, "n:\ufffd\x1b[1m", v.Owner, args)
		assert.Equal(t, owner, string(v.Bytes), args)
	}
	assert.Contains(t, run(t, b, "owners").out, "\nn:\ufffd ")
	r := run(t, b, "purge", "--yes", "--owner", owner)
	assert.Equal(t, exitOK, r.code, r.err)
	assert.Contains(t, r.out, "removed         1")
}
