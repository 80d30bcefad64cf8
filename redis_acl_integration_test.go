//go:build integration

package taskstore_test

import (
	"context"
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
	"github.com/taskstore/taskstore/backendtest"
	"github.com/taskstore/taskstore/internal/redistest"
)

// readmeACL returns the commands of the README's ACL recipe: the first is for
// every server, the second adds what a Cluster needs.
func readmeACL(t *testing.T) (commands [][]any) {
	t.Helper()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, recipe := range strings.Split(string(readme), "\nACL SETUSER ")[1:] {
		recipe, _, _ = strings.Cut(recipe, "```")
		recipe, _, _ = strings.Cut(recipe, "#")
		args := []any{"ACL", "SETUSER"}
		for _, rule := range strings.Fields(strings.ReplaceAll(recipe, "\\\n", " ")) {
			args = append(args, rule)
		}
		commands = append(commands, args)
	}
	require.Len(t, commands, 2)
	return commands
}

// The README's recipe is enough for everything that the contract asks for.
func TestRedisKeepsTheContractUnderTheACLRecipe(t *testing.T) {
	t.Run("OneServer", func(t *testing.T) {
		server := redistest.Start(t)
		grant(t, server, readmeACL(t)[:1])
		url := "redis://taskstore:secret@" + server.Addr()
		backendtest.Run(t, func(tb testing.TB) taskstore.StorageBackend {
			return openRedis(tb, url, taskstore.RedisOptions{Prefix: "taskstore:" + uuid.NewString()})
		}, nil)
	})
	t.Run("Cluster", func(t *testing.T) {
		cluster := redistest.StartCluster(t)
		for _, node := range append(cluster.Masters, cluster.Replicas...) {
			grant(t, node, readmeACL(t))
		}
		url := strings.Replace(cluster.URL(), "redis://", "redis://taskstore:secret@", 1)
		backendtest.Run(t, func(tb testing.TB) taskstore.StorageBackend {
			return openRedis(tb, url, taskstore.RedisOptions{Prefix: "taskstore:" + uuid.NewString()})
		}, nil)
	})
}

func grant(t *testing.T, server *redistest.Server, commands [][]any) {
	t.Helper()
	c := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer c.Close()
	for _, command := range commands {
		require.NoError(t, c.Do(ctx, command...).Err())
	}
}

// A permission that is missing is said at once, and is no reason to try again.
func TestRedisMissingPermissions(t *testing.T) {
	server := redistest.Start(t)
	grant(t, server, readmeACL(t)[:1])
	url := "redis://taskstore:secret@" + server.Addr()
	t.Run("OtherKeys", func(t *testing.T) {
		b := openRedis(t, url, taskstore.RedisOptions{Prefix: "other"})
		_, err := b.Get(ctx, key)
		assert.ErrorContains(t, err, "NOPERM")
		_, err = b.Put(ctx, key, hello)
		assert.ErrorContains(t, err, "NOPERM")
		assert.NotErrorIs(t, err, taskstore.ErrOutcomeUnknown)
	})
	t.Run("OtherChannels", func(t *testing.T) {
		c := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer c.Close()
		require.NoError(t, c.Do(ctx, "ACL", "SETUSER", "taskstore", "resetchannels").Err())
		b := openRedis(t, url, taskstore.RedisOptions{Prefix: "taskstore"})
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
	b := openRedis(t, strings.Replace(cluster.URL(), "redis://", "redis://taskstore:secret@", 1), taskstore.RedisOptions{Prefix: "taskstore"})
	// All keys of a script must have moved, or none: else the servers say TRYAGAIN.
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
