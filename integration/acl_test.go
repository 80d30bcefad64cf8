//go:build integration

package integration

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// An aclRecipe is a section of the document: its text for the aclfile, and its text for a
// shell.
type aclRecipe struct{ file, shell string }

// command returns the command of the shell's text, as words.
func (r aclRecipe) command(t *testing.T) (args []any) {
	t.Helper()
	_, line, ok := strings.Cut(r.shell, "\n")
	require.True(t, ok)
	line, _, ok = strings.Cut(line, "\n")
	require.True(t, ok)
	for _, word := range strings.Fields(line) {
		args = append(args, word)
	}
	return args
}

// documentedACL returns the recipes that the document has for this server, for one
// and for a Cluster.
func documentedACL(t *testing.T) (one, cluster aclRecipe) {
	t.Helper()
	document, err := os.ReadFile("../docs/redis.md")
	require.NoError(t, err)
	section := func(title string) (r aclRecipe) {
		_, text, ok := strings.Cut(string(document), "\n### "+title+"\n")
		require.True(t, ok, title)
		text, _, _ = strings.Cut(text, "\n## ")
		blocks := strings.Split(text, "```")
		require.GreaterOrEqual(t, len(blocks), 4, title)
		r.file, ok = strings.CutPrefix(blocks[1], "\n")
		require.True(t, ok, title)
		r.shell, ok = strings.CutPrefix(blocks[3], "sh\n")
		require.True(t, ok, title)
		return r
	}
	version, err := redistest.ServerVersion()
	require.NoError(t, err)
	if version.AtLeast(7, 0) {
		return section("One server, Sentinel"), section("Cluster")
	}
	return section("One server, Sentinel"), section("Cluster of Redis 6.2")
}

// readmeACL returns the recipe for one server as a command, and a second command with the
// rules that a Cluster needs besides.
func readmeACL(t *testing.T) (commands [][]any) {
	t.Helper()
	one, cluster := documentedACL(t)
	all, more := one.command(t), []any{"ACL", "SETUSER", "taskstore"}
	for _, rule := range cluster.command(t) {
		if !slices.Contains(all, rule) {
			more = append(more, rule)
		}
	}
	return [][]any{all, more}
}

// withoutOwners is no OwnerLister: servers do not need SCAN, and the recipes do not grant it.
type withoutOwners struct{ *taskstore.RedisBackend }

func (withoutOwners) Owners() {}

// The document's recipes are enough for everything that the contract asks for, in
// an aclfile as from a shell.
func TestRedisKeepsTheContractUnderTheACLRecipe(t *testing.T) {
	one, cluster := documentedACL(t)
	run := func(t *testing.T, url string) {
		url = strings.Replace(url, "redis://", "redis://taskstore:secret@", 1)
		backendtest.Run(t, func(tb testing.TB) taskstore.StorageBackend {
			return withoutOwners{storetest.Open(tb, url, taskstore.RedisOptions{Prefix: "taskstore:" + uuid.NewString()})}
		}, nil)
	}
	aclfile := func(t *testing.T, recipe aclRecipe) (args []string) {
		name := filepath.Join(t.TempDir(), "users.acl")
		require.NoError(t, os.WriteFile(name, []byte(recipe.file), 0o600))
		return []string{"--aclfile", name}
	}
	t.Run("OneServer", func(t *testing.T) {
		t.Run("File", func(t *testing.T) { run(t, redistest.Start(t, aclfile(t, one)...).URL()) })
		t.Run("Shell", func(t *testing.T) {
			server := redistest.Start(t)
			inShell(t, server, one)
			run(t, server.URL())
		})
	})
	t.Run("Cluster", func(t *testing.T) {
		t.Run("File", func(t *testing.T) { run(t, redistest.StartCluster(t, aclfile(t, cluster)...).URL()) })
		t.Run("Shell", func(t *testing.T) {
			servers := redistest.StartCluster(t)
			for _, node := range append(servers.Masters, servers.Replicas...) {
				inShell(t, node, cluster)
			}
			run(t, servers.URL())
		})
	})
}

// inShell pastes the recipe into a shell whose redis-cli goes to the server. It checks the
// files and the users that are left behind.
func inShell(t *testing.T, server *redistest.Server, recipe aclRecipe) {
	t.Helper()
	cli := redistest.CLI(t)
	bin, dir := t.TempDir(), t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' -p %d \"$@\"\n", cli, server.Port())
	require.NoError(t, os.WriteFile(filepath.Join(bin, "redis-cli"), []byte(script), 0o700))
	shell := exec.Command("sh", "-c", recipe.shell)
	shell.Dir = dir
	shell.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := shell.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Equal(t, "OK", strings.TrimSpace(string(out)))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Empty(t, left, "the shell wrote no file")
	users, err := admin(t, server).Do(ctx, "ACL", "LIST").StringSlice()
	require.NoError(t, err)
	require.Len(t, users, 2)
	for _, user := range users {
		if !strings.HasPrefix(user, "user default ") {
			assert.Regexp(t, `^user taskstore on (sanitize-payload )?#`, user, "on, with a password")
		}
	}
}

// The recipe takes away all rights that a user of that name had before.
func TestRedisACLRecipeMakesTheUserAnew(t *testing.T) {
	server := redistest.Start(t)
	c := admin(t, server)
	one, _ := documentedACL(t)
	grant(t, server, [][]any{one.command(t)})
	want, err := c.Do(ctx, "ACL", "LIST").StringSlice()
	require.NoError(t, err)
	require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "taskstore", ">other", "allkeys", "allchannels", "+@all").Err())
	grant(t, server, [][]any{one.command(t)})
	got, err := c.Do(ctx, "ACL", "LIST").StringSlice()
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

func grant(t *testing.T, server *redistest.Server, commands [][]any) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer c.Close()
	for _, command := range commands {
		require.NoError(t, c.Do(ctx, command...).Err())
	}
}

// A call reports a missing permission at once, without a retry.
func TestRedisMissingPermissions(t *testing.T) {
	server := redistest.Start(t)
	grant(t, server, readmeACL(t)[:1])
	url := "redis://taskstore:secret@" + server.Addr()
	t.Run("OtherKeys", func(t *testing.T) {
		b := storetest.Open(t, url, taskstore.RedisOptions{Prefix: "other"})
		_, err := b.Get(ctx, key)
		assert.ErrorContains(t, err, "NOPERM")
		_, err = b.Put(ctx, key, hello)
		assert.ErrorContains(t, err, "NOPERM")
		assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	})
	// The server may refuse the client's first command. The error then names the right to it.
	t.Run("OtherDatabase", func(t *testing.T) {
		_, err := taskstore.OpenRedis(ctx, url+"/3", nil)
		assert.ErrorContains(t, err, "grant +select:")
		c := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "taskstore", Password: "secret", DB: 3})
		defer c.Close()
		b, err := taskstore.NewRedisBackend(c, nil)
		require.NoError(t, err)
		findings, err := b.Check(ctx)
		assert.ErrorContains(t, err, "select")
		assert.Empty(t, findings, "the client sends none of these commands")
		admin(t, server).Do(ctx, "ACL", "SETUSER", "taskstore", "+select")
		storetest.Open(t, url+"/3", taskstore.RedisOptions{Prefix: "taskstore"})
	})
	t.Run("Cluster", func(t *testing.T) {
		node := redistest.StartClusterOfOne(t)
		grant(t, node, readmeACL(t)[:1])
		_, err := taskstore.OpenRedis(ctx, "redis://taskstore:secret@"+node.Addr(), nil)
		assert.ErrorContains(t, err, "grant +cluster")
	})
	t.Run("OtherChannels", func(t *testing.T) {
		c := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer c.Close()
		require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "taskstore", "resetchannels").Err())
		b := storetest.Open(t, url, taskstore.RedisOptions{Prefix: "taskstore"})
		_, err := b.Put(ctx, key, hello)
		assert.NoError(t, err, "a hint that cannot be published does not fail the write")
		for _, err := range b.Watch(ctx, taskstore.Key{Owner: key.Owner}) {
			assert.ErrorContains(t, err, "NOPERM")
		}
	})
}

// The recipe is enough while a slot moves, too.
func TestRedisACLRecipeOutlastsAMovingSlot(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	for _, node := range append(cluster.Masters, cluster.Replicas...) {
		grant(t, node, readmeACL(t))
	}
	b := storetest.Open(t, strings.Replace(cluster.URL(), "redis://", "redis://taskstore:secret@", 1), taskstore.RedisOptions{Prefix: "taskstore"})
	// The servers say TRYAGAIN if only some keys of a script have moved. A record with an
	// expiry has all of the keys, so all of them move.
	v, err := b.PutIfVersion(ctx, key, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)}, 0)
	require.NoError(t, err)
	channel := "taskstore:idx:{" + key.Owner + "}"
	from := masterOf(t, cluster, channel)
	to := cluster.Masters[(slices.Index(cluster.Masters, from)+1)%len(cluster.Masters)]
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	move := cluster.BeginMove(t, channel, from, to)
	_, err = b.PutIfVersion(ctx, key, taskstore.Value{ExpiresAt: time.Now().Add(time.Hour)}, v)
	require.NoError(t, err)
	got, err := b.Get(ctx, key)
	require.NoError(t, err)
	assert.Equal(t, v+1, got.Version)
	move.End()
	_, err = b.Put(ctx, key, hello)
	require.NoError(t, err)
}
