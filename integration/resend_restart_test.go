//go:build integration

package integration

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
	"github.com/taskstore/taskstore/internal/faultproxy"
	"github.com/taskstore/taskstore/internal/redistest"
	"github.com/taskstore/taskstore/internal/storetest"
)

// The answer is lost and then the server. A backend that has not noticed yet learns the
// outcome of its write when the server is back.
func TestWritesOutlastARestart(t *testing.T) {
	server := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	setup := storetest.Open(t, server.URL(), taskstore.RedisOptions{Prefix: "p"})
	for _, c := range []struct {
		verb  string
		fault faultproxy.Fault
		write func(b *taskstore.RedisBackend, ctx context.Context) (any, error)
		want  any
	}{
		{"Put", lost, func(b *taskstore.RedisBackend, ctx context.Context) (any, error) { return b.Put(ctx, key, hello) }, taskstore.Version(2)},
		{"PutIfVersion", lost, func(b *taskstore.RedisBackend, ctx context.Context) (any, error) {
			return b.PutIfVersion(ctx, key, hello, 1)
		}, taskstore.Version(2)},
		{"PutIfVersion", cut, func(b *taskstore.RedisBackend, ctx context.Context) (any, error) {
			return b.PutIfVersion(ctx, key, hello, 1)
		}, taskstore.Version(2)},
		{"Delete", cut, func(b *taskstore.RedisBackend, ctx context.Context) (any, error) { return b.Delete(ctx, key) }, true},
	} {
		t.Run(c.verb, func(t *testing.T) {
			proxy := faultproxy.New()
			t.Cleanup(proxy.Close)
			client := redis.NewClient(&redis.Options{Addr: server.Addr(), Dialer: proxy.Dial})
			t.Cleanup(func() { _ = client.Close() })
			b, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: "p"})
			require.NoError(t, err)
			_, err = setup.Delete(ctx, key)
			require.NoError(t, err)
			_, err = setup.Put(ctx, key, hello)
			require.NoError(t, err)
			made, err := setup.Now(ctx)
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				now, err := setup.Now(ctx)
				return err == nil && now.Sub(made) > 50*time.Millisecond
			}, 5*time.Second, time.Millisecond, "it is no successor")

			// The first script is the write; the second is its second copy, or the
			// question for the time ahead of that.
			killed := make(chan struct{})
			scripts := 0
			proxy.Set(faultproxy.Faults{Plan: []faultproxy.Fault{c.fault}, Match: func(args []string) bool {
				if strings.HasPrefix(strings.ToLower(args[0]), "eval") {
					if scripts++; scripts == 2 {
						server.Kill()
						close(killed)
					}
				}
				return scripts == 1
			}})
			type result struct {
				got any
				err error
			}
			done := make(chan result, 1)
			short, cancel := context.WithTimeout(ctx, 15*time.Second)
			defer cancel()
			go func() {
				got, err := c.write(b, short)
				done <- result{got, err}
			}()
			<-killed
			server.Restart()
			r := <-done
			require.NoError(t, r.err)
			assert.Equal(t, c.want, r.got)
		})
	}
}
