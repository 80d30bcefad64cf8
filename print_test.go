package taskstore_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore"
)

func TestBackendsPrintNoRecords(t *testing.T) {
	memory := taskstore.NewMemoryBackend(nil)
	_, err := memory.Put(t.Context(), taskstore.Key{Owner: "planted", Task: "planted"}, taskstore.Value{Data: []byte("planted")})
	require.NoError(t, err)
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", Password: "planted"})
	t.Cleanup(func() { _ = client.Close() })
	remote, err := taskstore.NewRedisBackend(client, &taskstore.RedisOptions{Prefix: "planted"})
	require.NoError(t, err)
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		assert.NotContains(t, fmt.Sprintf(format, memory), "planted", format)
		assert.NotContains(t, fmt.Sprintf(format, remote), "planted", format)
	}
}
