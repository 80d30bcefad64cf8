//go:build integration

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/tasks"
)

// healthy are the arguments of a server as it should be.
var healthy = []string{"--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "200mb", "--maxmemory-policy", "noeviction"}

func startHealthy(t *testing.T, args ...string) *redistest.Server {
	t.Helper()
	return redistest.Start(t, slices.Concat(healthy, args)...)
}

// admin returns a client that may do everything.
func admin(t *testing.T, server *redistest.Server) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// doctorSays runs doctor and returns the exit code and the findings.
func doctorSays(t *testing.T, url string, args ...string) (int, []diagnosis) {
	t.Helper()
	r := runURL(t, url, append([]string{"doctor", "-o", "json"}, args...)...)
	return readReport(t, r)
}

func readReport(t *testing.T, r result) (int, []diagnosis) {
	t.Helper()
	var said report
	require.NoError(t, json.Unmarshal([]byte(r.out), &said), "%s%s", r.out, r.err)
	assert.Equal(t, r.code, said.Exit)
	return r.code, said.Findings
}

// runURL runs the command on the store that the environment names.
func runURL(t *testing.T, url string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	a := &app{in: strings.NewReader(""), out: &out, err: &errs, getenv: func(name string) string {
		return map[string]string{"TASKSTORE_URL": url}[name]
	}}
	a.open = a.openStore
	return result{a.run(t.Context(), args), out.String(), errs.String()}
}

// finds asserts that there is one finding, which says that.
func finds(t *testing.T, level level, says string, findings []diagnosis) {
	t.Helper()
	require.Len(t, findings, 1)
	assert.Equal(t, level, findings[0].Level)
	assert.Contains(t, findings[0].Setting, says)
	assert.NotEmpty(t, findings[0].Breaks)
	assert.NotEmpty(t, findings[0].Remedy)
}

func TestDoctorFindsWrongSettings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		args  []string
		level level
		says  string
		code  int
	}{
		"Healthy":       {},
		"NoPersistence": {[]string{"--appendonly", "no", "--save", ""}, weakened, "appendonly is no, and save is empty", 1},
		"EverySecond":   {[]string{"--appendfsync", "everysec"}, weakened, "appendfsync is everysec", 1},
		"Eviction":      {[]string{"--maxmemory-policy", "allkeys-lru"}, weakened, "maxmemory-policy is allkeys-lru", 1},
		"NoCommand":     {[]string{"--rename-command", "ZCOUNT", ""}, unusable, "the server lacks zcount", 2},
	} {
		t.Run(name, func(t *testing.T) {
			code, findings := doctorSays(t, startHealthy(t, c.args...).URL())
			assert.Equal(t, c.code, code)
			if c.says == "" {
				assert.Empty(t, findings)
				return
			}
			finds(t, c.level, c.says, findings)
		})
	}
}

func TestDoctorFindsAServerThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	master := startHealthy(t)
	replica := startHealthy(t, "--replicaof", "127.0.0.1", strings.TrimPrefix(master.Addr(), "127.0.0.1:"))
	code, findings := doctorSays(t, replica.URL())
	assert.Equal(t, 2, code)
	finds(t, unusable, "it is a replica", findings)
	replica.Kill()
	code, findings = doctorSays(t, replica.URL())
	assert.Equal(t, 2, code)
	finds(t, unusable, "it cannot be reached", findings)
	master.Suspend()
	defer master.Resume()
	code, findings = doctorSays(t, master.URL(), "--timeout", "300ms")
	assert.Equal(t, 2, code)
	finds(t, unusable, "no answer in time", findings)
}

// published gives the server the user that the document recommends, and returns its URL.
func published(t *testing.T, server *redistest.Server) string {
	t.Helper()
	document, err := os.ReadFile("../../docs/redis.md")
	require.NoError(t, err)
	_, recipe, ok := strings.Cut(string(document), "\n### One server, Sentinel\n")
	require.True(t, ok)
	_, recipe, ok = strings.Cut(recipe, "```\nuser ")
	require.True(t, ok)
	recipe, _, _ = strings.Cut(recipe, "\n")
	grant(t, server, strings.Fields(recipe)...)
	return "redis://taskstore:secret@" + server.Addr()
}

// grant changes the rights of a user.
func grant(t *testing.T, server *redistest.Server, rules ...string) {
	t.Helper()
	args := []any{"ACL", "SETUSER"}
	for _, rule := range rules {
		args = append(args, rule)
	}
	require.NoError(t, admin(t, server).Do(t.Context(), args...).Err())
}

func TestDoctorFindsRightsThatAreMissing(t *testing.T) {
	t.Parallel()
	server := startHealthy(t)
	url := published(t, server)
	grant(t, server, "taskstore", "+config|get", "+scan")
	for rule, c := range map[string]struct {
		level level
		says  string
		code  int
	}{
		"-zrem":         {unusable, "the user may not run zrem", 2},
		"-publish":      {weakened, "the user may not run publish", 1},
		"resetkeys":     {unusable, "may not read and write all keys taskstore:*", 2},
		"resetchannels": {weakened, "may not use all channels taskstore:*", 1},
		"-scan":         {notKnown, "may not list owners: grant +scan", 0},
		"-config|get":   {notKnown, "appendfsync is unknown", 0},
		"-info":         {notKnown, "INFO is refused", 0},
	} {
		grant(t, server, "taskstore", rule)
		code, findings := doctorSays(t, url)
		assert.Equal(t, c.code, code, rule)
		finds(t, c.level, c.says, findings)
		published(t, server)
		grant(t, server, "taskstore", "+config|get", "+scan")
	}
	code, findings := doctorSays(t, url)
	assert.Zero(t, code)
	assert.Empty(t, findings)
}

// late is a backend with a clock that is slow.
type late struct {
	*taskstore.RedisBackend
	by time.Duration
}

func (b late) Now(ctx context.Context) (time.Time, error) {
	now, err := b.RedisBackend.Now(ctx)
	return now.Add(-b.by), err
}

func TestDoctorFindsFaultsOfTasks(t *testing.T) {
	t.Parallel()
	server := startHealthy(t)
	b, err := taskstore.OpenRedis(t.Context(), server.URL(), nil)
	require.NoError(t, err)
	defer b.Close()
	store := func(b taskstore.StorageBackend) *tasks.Store {
		s, err := tasks.New(b, nil)
		require.NoError(t, err)
		return s
	}
	create := func(s *tasks.Store, p tasks.CreateParams) tasks.Task {
		task, _, err := s.Create(t.Context(), "n:alice", p)
		require.NoError(t, err)
		return task
	}
	client := admin(t, server)
	// recordKey finds the key of a task's record by its end, in any layout.
	recordKey := func(task tasks.Task) string {
		keys, err := client.Keys(t.Context(), "taskstore:tasks:{u*n*alice}:*"+task.ID).Result()
		require.NoError(t, err)
		require.Len(t, keys, 1)
		return keys[0]
	}
	for name, c := range map[string]struct {
		seed func()
		says string
	}{
		"Orphan": {func() {
			create(store(late{b, 3 * time.Minute}), tasks.CreateParams{Holder: "gone"})
		}, "orphans (working tasks of lost runners): 1; the longest for 2m"},
		"EntryWithoutRecord": {func() {
			require.NoError(t, client.Del(t.Context(), recordKey(create(store(b), tasks.CreateParams{}))).Err())
		}, "index entries without a record: 1"},
		"RegistryWithoutRecord": {func() {
			task := create(store(late{b, 10 * time.Minute}), tasks.CreateParams{Resumable: true})
			require.NoError(t, client.Del(t.Context(), recordKey(task)).Err())
		}, "index entries without a record: "},
		"FullOwner": {func() {
			for range 100 {
				create(store(b), tasks.CreateParams{})
			}
		}, "owners at their limit of active tasks: 1"},
		"NewerFormat": {func() {
			spoil(t, b, create(store(b), tasks.CreateParams{}), `{"format":99}`)
		}, "records of a newer format: 1"},
		"Damage": {func() {
			spoil(t, b, create(store(b), tasks.CreateParams{}), `{"format":1}`)
		}, "records that are damaged: 1"},
		"WrongType": {func() {
			task := create(store(b), tasks.CreateParams{})
			_, err := store(b).Complete(t.Context(), "n:alice", task.ID, json.RawMessage(`1`))
			require.NoError(t, err)
			keys, err := client.Keys(t.Context(), "taskstore:idx:{u*n*alice}").Result()
			require.NoError(t, err)
			require.Len(t, keys, 1)
			require.NoError(t, client.Set(t.Context(), keys[0], "x", 0).Err())
		}, "owners whose tasks cannot be listed: 1"},
		"WrongLayout": {func() {
			key := strings.Replace(recordKey(create(store(b), tasks.CreateParams{})), "taskstore:tasks:", "", 1)
			_, name, _ := strings.Cut(key, "}:")
			name = strings.Replace(name, "%2F", "/", 1)
			_, err := b.Put(t.Context(), taskstore.Key{Owner: "u:n:alice", Task: name[:max(0, len(name)-36)] + "t/" + uuid.NewString()}, taskstore.Value{Data: []byte(`{"format":1}`)})
			require.NoError(t, err)
		}, "records among the tasks that are not tasks: 1"},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, client.FlushDB(t.Context()).Err())
			c.seed()
			code, findings := doctorSays(t, server.URL())
			assert.Equal(t, 1, code)
			finds(t, weakened, c.says, findings)
		})
	}
	t.Run("FullOfEnded", func(t *testing.T) {
		require.NoError(t, client.FlushDB(t.Context()).Err())
		create(store(b), tasks.CreateParams{})
		code, findings := doctorSays(t, server.URL(), "--max-tasks", "1")
		assert.Equal(t, 1, code)
		finds(t, weakened, "owners at their limit of tasks: 1", findings)
	})
}

// ahead shows the clock of one node as if it were.
type ahead struct{ by time.Duration }

func (ahead) DialHook(next redis.DialHook) redis.DialHook { return next }

func (a ahead) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if c, ok := cmd.(*redis.TimeCmd); ok && err == nil {
			c.SetVal(c.Val().Add(a.by))
		}
		return err
	}
}

func (ahead) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func TestDoctorFindsFaultsOfACluster(t *testing.T) {
	t.Parallel()
	redistest.Need(t, redistest.ShardedChannels)
	cluster := redistest.StartCluster(t, healthy...)
	told := func(url string) []string {
		code, findings := doctorSays(t, url)
		assert.Equal(t, 1, code)
		var settings []string
		for _, d := range findings {
			assert.NotEmpty(t, d.Node)
			settings = append(settings, d.Setting)
		}
		return settings
	}
	t.Run("Clock", func(t *testing.T) {
		client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: cluster.Addrs()})
		defer client.Close()
		var masters []string
		for _, master := range cluster.Masters {
			masters = append(masters, master.Addr())
		}
		wrong := slices.Max(masters) // doctor compares the others with the first in order
		client.OnNewNode(func(node *redis.Client) {
			if node.Options().Addr == wrong {
				node.AddHook(ahead{5 * time.Second})
			}
		})
		b, err := taskstore.NewRedisBackend(client, nil)
		require.NoError(t, err)
		code, findings := readReport(t, run(t, b, "doctor", "-o", "json"))
		assert.Equal(t, 1, code)
		finds(t, weakened, "its clock differs by", findings)
		assert.Equal(t, wrong, findings[0].Node)
	})
	t.Run("OpenSlot", func(t *testing.T) {
		from := slices.IndexFunc(cluster.Masters, func(s *redistest.Server) bool {
			return admin(t, s).Exists(t.Context(), "taskstore:idx:{x}").Err() == nil // the others redirect
		})
		require.GreaterOrEqual(t, from, 0)
		move := cluster.BeginMove(t, "taskstore:idx:{x}", cluster.Masters[from], cluster.Masters[(from+1)%len(cluster.Masters)])
		settings := told(cluster.URL())
		require.Len(t, settings, 2, "on both nodes")
		for _, s := range settings {
			assert.Contains(t, s, "slots are still being moved")
		}
		move.End()
	})
}
