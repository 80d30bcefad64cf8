package tasks

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

var update = flag.Bool("update", false, "write the golden files anew")

// examples has a record in each status, and between them every field.
func examples() map[string]*record {
	at := time.UnixMilli(1767225600123).UTC()
	base := func(status Status) *record {
		return &record{write: "THENAMEOFTHEWRITE", Task: Task{
			Status: status, CreatedAt: at, UpdatedAt: at.Add(time.Minute), TTL: time.Hour, PollInterval: time.Second, Revision: 3,
		}}
	}
	working := base(Working)
	working.StatusMessage, working.Request = "half of it <é>", raw(`{"name": "tool", "n": 1.50}`)
	working.CancelRequested, working.Resumable, working.State = true, true, []byte{0, 1, 255}
	working.Lease = Lease{Holder: "replica 1", Token: 7, ExpiresAt: at.Add(90 * time.Second)}
	working.InputKeys, working.InputResponses = []string{"name"}, map[string]json.RawMessage{"name": raw(`"Alice"`)}
	input := base(InputRequired)
	input.InputKeys = []string{"a", "b", "c"}
	input.InputRequests = map[string]json.RawMessage{"b": raw(`{}`), "c": raw(`null`)}
	input.InputResponses = map[string]json.RawMessage{"a": raw(`[1]`)}
	input.Lease, input.TTL = Lease{Token: 1}, 0
	completed := base(Completed)
	completed.Result, completed.key = raw(`{"content":[]}`), hash("key")
	failed := base(Failed)
	failed.StatusMessage, failed.Error = MessageRunnerGone, &Error{Code: internalError, Message: MessageRunnerGone, Data: raw(`{"a":"b"}`)}
	failed.Lease = Lease{Token: 2}
	cancelled := base(Cancelled)
	cancelled.CancelRequested = true
	offered := base(Working)
	offered.Lease = Lease{Token: 2, ExpiresAt: at.Add(time.Minute)}
	suspected := base(Working)
	suspected.Lease = Lease{Holder: "replica 1", Token: 1, ExpiresAt: at.Add(time.Minute), IdleSince: at.Add(61 * time.Second)}
	released := base(Working)
	released.Resumable, released.Service = true, "billing"
	released.Lease = Lease{Token: 3, IdleSince: at.Add(time.Second)}
	progressing := base(Working)
	progressing.StatusMessage, progressing.Progress = "half of it", Progress{Current: 5, Total: 10}
	progressing.Lease = Lease{Holder: "replica 1", Token: 1, ExpiresAt: at.Add(time.Minute)}
	retried := base(Working)
	retried.Resumable, retried.LostRuns, retried.Progress = true, 4, Progress{Current: 1 << 40}
	retried.Lease = Lease{Holder: "replica 5", Token: 5, ExpiresAt: at.Add(time.Minute)}
	traced := base(Working)
	traced.Trace = Trace{Call: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", Run: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
	away := base(Working)
	away.Lease = Lease{Holder: "replica 1", Token: 2, ExpiresAt: at.Add(time.Hour), Detached: true}
	asking := base(InputRequired)
	asking.InputKeys, asking.InputRequests = []string{"a"}, map[string]json.RawMessage{"a": raw(`{}`)}
	asking.Lease = Lease{Holder: "replica 1", Token: 2, ExpiresAt: at.Add(time.Hour), IdleSince: at.Add(time.Minute), Detached: true}
	return map[string]*record{
		"detached": away, "detached_asking": asking,
		"progressing": progressing, "retried": retried, "traced": traced,
		"suspected": suspected, "released": released,
		"working": working, "input_required": input, "completed": completed, "failed": failed, "cancelled": cancelled, "offered": offered,
	}
}

// Golden files hold the records of this version, byte for byte. A change here needs a
// new format, or older replicas refuse the records of newer ones.
func TestGoldenFiles(t *testing.T) {
	for name, r := range examples() {
		golden(t, name, r, (*record).encode, decode)
	}
	id, at := "6ba7b810-9dad-41d1-80b4-00c04fd430c8", time.UnixMilli(1767225600123).UTC()
	golden(t, "entry", entry{owner: "\x00\xffé", id: id, createdAt: at}, entry.encode, decodeEntry)
	golden(t, "entry_of_a_service", entry{owner: "alice", id: id, service: "billing", createdAt: at}, entry.encode, decodeEntry)
	golden(t, "secret", bytes.Repeat([]byte{1, 2, 3, 4}, 8), encodeSecret, decodeSecret)
	golden(t, "key", keyRecord{id: id, request: hash("request")}, keyRecord.encode, decodeKey)
}

// golden compares the encoding of v with a file, and v with the decoding of that file.
func golden[T any](t *testing.T, name string, v T, encode func(T) []byte, decode func([]byte) (T, error)) {
	t.Helper()
	file := filepath.Join("testdata", name+".json")
	got := append(encode(v), '\n')
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, string(want), string(got), name)
	back, err := decode(want)
	require.NoError(t, err, name)
	assert.Equal(t, v, back, name)
}

func TestDecodingIsStrict(t *testing.T) {
	e := examples()
	progressing, retried := string(e["progressing"].encode()), string(e["retried"].encode())
	traced := string(e["traced"].encode())
	away, asking := string(e["detached"].encode()), string(e["detached_asking"].encode())
	suspected, released := string(e["suspected"].encode()), string(e["released"].encode())
	working, input, failed, completed := string(e["working"].encode()), string(e["input_required"].encode()), string(e["failed"].encode()), string(e["completed"].encode())
	change := func(s, old, new string) string {
		require.Contains(t, s, old)
		return strings.Replace(s, old, new, 1)
	}
	for name, data := range map[string]string{
		"empty":                  "",
		"not JSON":               "{",
		"not an object":          "[]",
		"a string":               `"x"`,
		"text after":             working + "{}",
		"no format":              change(working, `"format":1,`, ""),
		"format 0":               change(working, `"format":1`, `"format":0`),
		"format as string":       change(working, `"format":1`, `"format":"1"`),
		"format as float":        change(working, `"format":1`, `"format":1.0`),
		"format twice":           change(working, `"format":1`, `"format":1,"format":1`),
		"other case":             change(working, `"status"`, `"Status"`),
		"unknown":                change(working, `"format":1`, `"format":1,"extra":1`),
		"duplicate":              change(working, `"resumable":true`, `"resumable":true,"resumable":true`),
		"escaped duplicate":      change(working, `"resumable":true`, `"resumable":true,"r\u0065sumable":true`),
		"no status":              change(working, `"status":"working",`, ""),
		"no write":               change(working, `"write":"THENAMEOFTHEWRITE",`, ""),
		"empty write":            change(working, "THENAMEOFTHEWRITE", ""),
		"unknown status":         change(working, `"working"`, `"paused"`),
		"null":                   change(working, `"message":"half`, `"message":null,"x":"half`),
		"empty message":          change(failed, `"message":"the server that ran this task is gone","created`, `"message":"","created`),
		"zero revision":          change(working, `"revision":3`, `"revision":0`),
		"negative revision":      change(working, `"revision":3`, `"revision":-3`),
		"exponent":               change(working, `"revision":3`, `"revision":3e0`),
		"zero ttl":               change(working, `"ttl_ms":3600000`, `"ttl_ms":0`),
		"huge ttl":               change(working, `"ttl_ms":3600000`, `"ttl_ms":9223372036855`),
		"far time":               change(working, `"created_at":1767225600123`, `"created_at":253402300800000`),
		"zero time":              change(working, `"created_at":1767225600123`, `"created_at":0`),
		"false":                  change(working, `"resumable":true`, `"resumable":false`),
		"base64 in other form":   change(working, `"AAH/"`, `"AAH_"`),
		"base64 with a line":     change(working, `"AAH/"`, `"AA\nH/"`),
		"lease unknown":          change(working, `"token":7`, `"token":7,"x":1`),
		"lease case":             change(working, `"token":7`, `"Token":7`),
		"lease duplicate":        change(working, `"token":7`, `"token":7,"token":7`),
		"lease without token":    change(working, `"token":7,`, ``),
		"lease without end":      change(working, `,"expires_at":1767225690123`, ``),
		"cancel without runner":  change(working, `"holder":"replica 1",`, ``),
		"lease ended, held":      change(failed, `{"token":2}`, `{"holder":"x","token":2,"expires_at":1767225690123}`),
		"lease ended, idle":      change(failed, `{"token":2}`, `{"token":2,"idle_since":1767225690123}`),
		"lease parked, idle":     change(input, `{"token":1}`, `{"token":1,"idle_since":1767225690123}`),
		"idle since 0":           change(suspected, `"idle_since":1767225661123`, `"idle_since":0`),
		"idle within the lease":  change(suspected, `"idle_since":1767225661123`, `"idle_since":1767225660123`),
		"idle twice":             change(suspected, `"idle_since"`, `"idle_since":1767225661123,"idle_since"`),
		"detached, no holder":    change(away, `"holder":"replica 1",`, ``),
		"detached and resumable": change(away, `"revision":3`, `"revision":3,"resumable":true`),
		"detached: false":        change(away, `"detached":true`, `"detached":false`),
		"asking, no idle_since":  change(asking, `,"idle_since":1767225660123`, ``),
		"asking, cancelled":      change(asking, `"lease"`, `"cancel_requested":true,"lease"`),
		"asking under a lease":   change(asking, `,"detached":true`, ``),
		"idle, without a lease":  change(released, `"token":3,`, ``),
		"idle, not resumable":    change(released, `"resumable":true,`, ``),
		"empty holder":           change(suspected, `"replica 1"`, `""`),
		"empty service":          change(released, `"billing"`, `""`),
		"service not a string":   change(released, `"billing"`, `1`),
		"lease not an object":    change(failed, `{"token":2}`, `2`),
		"error unknown":          change(failed, `"code"`, `"x":1,"code"`),
		"error duplicate":        change(failed, `"code"`, `"code":1,"code"`),
		"error without code":     change(failed, `"code":-32603,`, ``),
		"error without message":  change(failed, `,"message":"the server that ran this task is gone","data"`, `,"data"`),
		"failed without error":   change(failed, `"failed"`, `"cancelled"`),
		"completed, no result":   change(completed, `,"result":{"content":[]}`, ``),
		"result while working":   change(completed, `"completed"`, `"working"`),
		"empty key":              change(completed, hash("key"), ""),
		"input request twice":    change(input, `"c":null`, `"c":null,"c":1`),
		"input unasked":          change(input, `"c":null`, `"d":null`),
		"input keys unsorted":    change(input, `["a","b","c"]`, `["b","a","c"]`),
		"input keys twice":       change(input, `["a","b","c"]`, `["a","b","c","c"]`),
		"input keys not strings": change(input, `["a","b","c"]`, `[1]`),
		"input keys no array":    change(input, `["a","b","c"]`, `{}`),
		"progress of zero":       change(progressing, `{"current":5,"total":10}`, `{"current":0}`),
		"progress, no current":   change(progressing, `"current":5,`, ``),
		"progress, total 0":      change(progressing, `"total":10`, `"total":0`),
		"progress below 0":       change(progressing, `"current":5`, `"current":-5`),
		"total below 0":          change(progressing, `"total":10`, `"total":-10`),
		"progress in part":       change(progressing, `"current":5`, `"current":5.5`),
		"progress unknown":       change(progressing, `"current":5`, `"current":5,"x":1`),
		"progress twice":         change(progressing, `"current":5`, `"current":5,"current":5`),
		"progress after the end": change(failed, `"created_at"`, `"progress":{"current":1},"created_at"`),
		"empty trace":            change(traced, traced[strings.Index(traced, `"trace":`):], `"trace":{}}`),
		"no call of a trace":     change(traced, `"call":"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"`, `"call":""`),
		"no run of a trace":      change(traced, `"run":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"`, `"run":""`),
		"unknown in a trace":     change(traced, `"run":`, `"walk":`),
		"no lost runs":           change(retried, `"lost_runs":4`, `"lost_runs":0`),
		"lost runs below 0":      change(retried, `"lost_runs":4`, `"lost_runs":-4`),
		"no input requests":      change(input, `{"b":{},"c":null}`, `{}`),
	} {
		_, err := decode([]byte(data))
		assert.ErrorIs(t, err, taskstore.ErrCorrupt, name)
		assert.NotErrorIs(t, err, ErrFormat, name)
	}
	spaced := change(change(working, `{"format"`, " {\n \"format\" "), `,"write"`, "\t,\r\n\"write\"")
	r, err := decode([]byte(spaced))
	require.NoError(t, err)
	assert.Equal(t, e["working"], r)
}

// A newer format may look like anything else; it is refused, and survives.
func TestNewerFormatIsRefusedAndUntouched(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		task, run := running(t, s)
		key, err := taskKey(owner, task.ID)
		require.NoError(t, err)
		data := []byte(`{"status":{"new":"shape"},"format":2}`)
		version, err := s.backend.Put(ctx, key, taskstore.Value{Data: data})
		require.NoError(t, err)
		for name, try := range everyMethod(s, owner, task.ID) {
			if name == "Delete" {
				continue
			}
			err := try()
			var format *FormatError
			require.ErrorAs(t, err, &format, name)
			assert.ErrorIs(t, err, ErrFormat, name)
			assert.Equal(t, FormatError{Format: 2, Max: 1}, *format)
			assert.Contains(t, err.Error(), "newer version")
		}
		for name, try := range runWrites(run) {
			_, err := try()
			assert.ErrorIs(t, err, ErrFormat, name)
		}
		_, _, err = s.List(ctx, owner, "", 10)
		assert.ErrorIs(t, err, ErrFormat)
		after, err := s.backend.Get(ctx, key)
		require.NoError(t, err)
		assert.Equal(t, data, after.Data)
		assert.Equal(t, version, after.Version)
		require.NoError(t, s.Delete(ctx, owner, task.ID))
		_, err = s.Get(ctx, owner, task.ID)
		assert.ErrorIs(t, err, ErrNotFound)
	})
}

func TestDamagedRecordIsReportedAndCanBeDeleted(t *testing.T) {
	s := memoryStore(t, nil)
	task := create(t, s, CreateParams{})
	key, err := taskKey(owner, task.ID)
	require.NoError(t, err)
	_, err = s.backend.Put(ctx, key, taskstore.Value{Data: []byte("rubbish")})
	require.NoError(t, err)
	_, err = s.Cancel(ctx, owner, task.ID)
	var damaged *taskstore.CorruptError
	require.ErrorAs(t, err, &damaged)
	assert.Equal(t, key, damaged.Key)
	require.NoError(t, s.Delete(ctx, owner, task.ID))
}

func TestPayloadsAreKeptByteForByte(t *testing.T) {
	onEach(t, func(t *testing.T, s *Store) {
		request := raw("{ \"a\" : 1.0e+2,\n\"a\":\"<\\u00e9>\", \"big\": 12345678901234567890.10, \"bad\":\"\xff\" }")
		deep := raw(strings.Repeat("[", 1000) + strings.Repeat("]", 1000))
		task := create(t, s, CreateParams{Request: append(append(raw(" \n"), request...), '\t')})
		assert.Equal(t, request, task.Request)
		assert.Equal(t, task, get(t, s, task.ID))
		ended, err := s.Complete(ctx, owner, task.ID, deep)
		require.NoError(t, err)
		assert.Equal(t, deep, get(t, s, task.ID).Result)
		assert.Equal(t, request, ended.Request)
	})
}

func FuzzDecode(f *testing.F) {
	for _, r := range examples() {
		f.Add(r.encode())
	}
	f.Add([]byte(`{"format":2}`))
	id, at := uuid.NewString(), time.UnixMilli(1767225600123).UTC()
	f.Add(keyRecord{id: id, request: hash("")}.encode())
	f.Add(entry{owner: "\x00\xff", id: id, createdAt: at}.encode())
	f.Add(entry{owner: "alice", id: id, service: "billing", createdAt: at}.encode())
	f.Fuzz(func(t *testing.T, data []byte) { // a readable record is written so that it reads the same
		if r, err := decode(data); err == nil {
			again, err := decode(r.encode())
			require.NoError(t, err)
			require.Equal(t, r, again)
		}
		if k, err := decodeKey(data); err == nil {
			again, err := decodeKey(k.encode())
			require.NoError(t, err)
			require.Equal(t, k, again)
		}
		if e, err := decodeEntry(data); err == nil {
			again, err := decodeEntry(e.encode())
			require.NoError(t, err)
			require.Equal(t, e, again)
		}
	})
}
