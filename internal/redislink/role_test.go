package redislink

import (
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/taskstore/taskstore/internal/fakeredis"
)

// A pipeline asks for the role on its own connection while that is suspect: a sweep may
// have missed that one, since it was in use or did not get its turn.
func TestAPipelineAsksForTheRoleInItsOwnRoundTrip(t *testing.T) {
	ctx := t.Context()
	var replica atomic.Bool
	s := fakeredis.Serve(t, func(args []string) string {
		switch strings.ToLower(args[0]) {
		case "hdel":
			if replica.Load() {
				return "-READONLY You can't write against a read only replica.\r\n"
			}
			return ":0\r\n"
		case "zcard":
			return ":7\r\n"
		}
		return fakeredis.Unknown
	})
	l, err := New(connect(t, s, redis.Options{}), Options{Key: "role"})
	require.NoError(t, err)
	count := func() (int64, error) {
		var n Count
		if err := l.Pipeline(ctx, func(p *Pipeline) { n = p.Count("zcard", "key") }); err != nil {
			return 0, err
		}
		return n.Result()
	}
	l.role.refused.Store(1)
	n, err := count()
	require.NoError(t, err)
	assert.EqualValues(t, 7, n)
	assert.Len(t, s.Got("hdel role"), 1)
	assert.Equal(t, s.Got("hdel role")[0].Connection, s.Got("zcard")[0].Connection)

	replica.Store(true)
	_, err = count()
	assert.True(t, Said(err, "READONLY"), "%v", err)

	l.role.refused.Store(0)
	l.role.asked.Store(l.role.now())
	n, err = count()
	require.NoError(t, err, "a role that is known")
	assert.EqualValues(t, 7, n)
	assert.Len(t, s.Got("hdel role"), 2)
}
