package redislink

import (
	"context"
	"errors"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAttemptIsSentOrAbandoned(t *testing.T) {
	wrong := errors.New("wrong")
	write := func(f *attempt) string {
		b, err := f.MarshalBinary()
		require.NoError(t, err, "it would break a batch")
		return string(b)
	}

	f := &attempt{script: []byte("script")}
	assert.Equal(t, "script", write(f))
	assert.False(t, neverExecuted(f.finish(wrong)))
	assert.Equal(t, "script", write(f), "the client may write it when its call is over")

	f = &attempt{script: []byte("script")}
	assert.True(t, neverExecuted(f.finish(wrong)))
	assert.Empty(t, write(f), "the attempt sends no command")
	assert.Empty(t, write(f))

	f = &attempt{script: []byte("script")}
	write(f)
	f.rearm()
	assert.True(t, neverExecuted(f.finish(wrong)))
	assert.Empty(t, write(f))

	f = &attempt{script: []byte("script")}
	require.True(t, neverExecuted(f.finish(wrong)))
	f.rearm()
	assert.Empty(t, write(f), "it stays abandoned")
}

// A command that go-redis writes again forgets the error of its earlier sending.
func TestAttemptForgetsTheErrorOfAnEarlierSending(t *testing.T) {
	f := &attempt{script: []byte("script")}
	f.cmd = redis.NewCmd(context.Background())
	f.cmd.SetErr(errors.New("MOVED 1 other:6379"))
	_, err := f.MarshalBinary()
	require.NoError(t, err)
	assert.NoError(t, f.cmd.Err())
}
